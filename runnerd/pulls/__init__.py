"""Getting models from elsewhere, and giving them to registries.

The nouns of this room:

- a *source* is a registry, a hub or a server that a reference names; it makes an *offer*: the files
  of one model, where they are and what is known about them;
- a *transfer* fetches one file into a *part* (`models.parts`), however often the connection breaks;
- a *pull* is the way of one model into the store: offer, transfers, commit.  It belongs to nobody:
  whoever asks for the same thing follows it, and it goes on when they leave;
- a *push* is the way of one model to a registry.
"""
