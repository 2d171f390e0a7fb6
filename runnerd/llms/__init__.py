"""Models as Pantry's programs know them: an *LLM* is a model of the store with a UUID and an entry.

An *entry* says what a model is and how it is asked (`entry`); what nobody said is drawn from the
model's header (`filling`).  Entries are kept in the database (`entry_store`), come with downloads
(`downloads`, `links`) and from lists of what could be downloaded (`index_file`).  Which LLM fits
what a program asks for is a pure function (`flexible_choice`).
"""
