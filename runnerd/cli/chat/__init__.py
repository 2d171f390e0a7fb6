"""`runnerd run`: one question, or a conversation at the terminal.

`command` decides which of the two it is, `conversation` holds what has been said and asks,
`response_events` reads what comes back, `printing` shows it.  `attachments` turns names of files in
a prompt into what is sent; `slash_commands` and `sampling` are what a person can set on the way;
`typed_lines` is the line editor, imported only where somebody types.
"""
