"""Building llama.cpp's server from the sources that llama-cpp-python's source distribution carries.

A *tree* is those sources with one build folder (`cmake`); only what runnerd uses is built.  When
the engine dies on this processor, it is built again one *rung* further down the *ladder*, without
the instruction set that is most probably guilty; only ggml's code for the processor is compiled
again for that.
"""
