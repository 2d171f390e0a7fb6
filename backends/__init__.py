"""Backends: the kinds of server that can run a model.

*Backend*: a kind of server (`llama.cpp`); it is asked to install itself, to run one model on one
Unix socket, to say how it is, what it occupies and what a model would need.  *Mode*: what a runner
is started for: completion, embedding or reranking.  *Configuration*: what an owner set for one
model; the engine's flags follow from it.  *Engine*: the server process itself.  *Guard*: the
listener in front of it that answers 421.

`interface` is the contract, `registry` finds who fulfils it (entry-point group `runnerd.backends`),
`process` is the only place that starts an operating-system process, and each engine has a folder.
"""
