"""The daemon on a GPU, measured in under ten minutes on a machine that may have no network.

`python -m bench.gpu.pack FOLDER` prepares, where there is a network, what the other machine needs:
llama.cpp's sources, as little as its server is built from, and the wheels of runnerd's
dependencies.  There, `python -m bench gpu --sources FOLDER` builds the engine for that card alone,
writes models of random weights and measures.  Without a card the same runs on the processor with
small models, and says which sections that leaves out.
"""
