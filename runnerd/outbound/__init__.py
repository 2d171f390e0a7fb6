"""The daemon's way out to the network: the only place that opens a connection to another host.

Whoever may name a model may name a host, so every request made for a client could be made to reach
what only this machine can reach.  The nouns of this room:

- an *internal* address is one that is not on the public internet;
- the *allowed sources* are the host names and networks that the owner lets the daemon reach
  although they are internal, or lets it speak plain http with;
- an *answer* is a response whose body has not been read yet.
"""
