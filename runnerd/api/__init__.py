"""The control plane on aiohttp: one module per wire contract.

`app` puts the routes together and turns every failure into a body; `models` and `engines` are
Docker Model Runner's contract (seed 004); `host` is the daemon itself: health, version, logs.
"""
