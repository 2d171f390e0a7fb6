"""Ollama's API: the inference routes as dialects of the relay, the others on the control plane.

A *dialect* turns Ollama's request into the engine's and the engine's response into Ollama's lines;
everything between is the relay's own.
"""
