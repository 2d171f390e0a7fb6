"""Anthropic's messages: a dialect, its requests in the engine's terms, its responses completed."""
