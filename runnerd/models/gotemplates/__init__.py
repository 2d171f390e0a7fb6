"""Ollama's chat templates, which are written in Go's template language: read, and put into Jinja.

The engine takes Jinja.  What can be said in it is translated; what cannot is refused with the part
that is in the way, because a model with half a template answers nonsense.
"""
