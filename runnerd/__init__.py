"""runnerd: one daemon on a GPU host that owns the machine's models.

Five nouns carry the design (docs/architecture.md): a *model* is weights in the store, a *backend*
is a kind of server that can run it, a *runner* is one such server running one model, a *lease* is
one request's claim on a runner, and the *relay* carries that request's bytes to the runner and
back.
"""

__version__ = "0.1.0"
