"""Requests in words that the engine takes: what owners and makers say, what it would refuse."""
