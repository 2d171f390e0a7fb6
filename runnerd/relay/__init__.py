"""The data plane: from a client's bytes to a runner's bytes and back, nothing else.

*ClientConnection*: one client's connection; it reads requests and decides whose they are.
*Exchange*: one inference request on its way to a runner and its response on the way back.
*ControlPlaneBridge*: hands every other request to aiohttp's server (the control plane).
*Plan*: what an inference request asks for, after every check that needs no runner.
*Assembly*: putting a streamed response together for a client that asked for a whole one.
"""
