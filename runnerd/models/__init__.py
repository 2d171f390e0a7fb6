"""Models on disk: what they are called, what they are made of, and where they are kept.

The nouns of this room:

- a *digest* is the content identity `sha256:<64 hex>`, and the only thing that ever becomes a path;
- a *reference* is what a person types (`smollm2`, `ai/smollm2:latest`, `hf.co/org/repo:Q4_K_M`);
- a *tag* is a canonical reference that points at a model and can be moved;
- a *header* is the part of a GGUF file before its weights, read under bounds;
- a *blob* is a file named by the digest of its content, a *manifest* lists the blobs of one model,
  a *bundle* holds them under the names that llama.cpp expects;
- a *model* is one manifest with everything that was found out when it came in.
"""
