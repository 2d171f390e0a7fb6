"""`runnerd launch claude|codex|opencode`: a client of this daemon's models, set up and started.

Each client reads from its environment or its arguments where it finds a model; nothing is written
into its own settings.  This process becomes the client.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
from dataclasses import dataclass, field
from typing import Any

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.daemon_address import DEFAULT_PORT
from runnerd.cli.model_paths import model_path
from runnerd.cli.tables import familiar
from runnerd.errors import ClientError, NotFound

_DEFAULT = f"127.0.0.1:{DEFAULT_PORT}"
_NO_KEY = "none"  # clients want some; the daemon takes this one for none
_PACKAGES = {
    "claude": "npm install -g @anthropic-ai/claude-code",
    "codex": "npm install -g @openai/codex",
    "opencode": "npm install -g opencode-ai",
}


@dataclass(frozen=True)
class Setup:
    """What a client is started with: variables that are set or taken away, and arguments."""

    variables: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


def launch(options: argparse.Namespace) -> int:
    """Become the client.  Raises errors.NotFound where it is not installed."""
    client = Client(options.host)
    address = web_address(client)
    model = options.model or _some_model(client)
    if options.model:
        client.json("GET", model_path(model))
    setup = _SETUPS[options.client](address, model, os.environ.get("RUNNERD_KEY") or _NO_KEY)
    command = [options.client, *setup.arguments, *options.flags]
    if options.print:
        _print(setup, command)
        return 0
    program = shutil.which(options.client)
    if program is None:
        raise NotFound(
            f"{options.client} is not on the path; `{_PACKAGES[options.client]}` installs it"
        )
    kept = {name: value for name, value in os.environ.items() if name not in setup.without}
    os.execve(program, command, {**kept, **setup.variables})


def web_address(client: Client) -> str:
    """The daemon's address for programs that know TCP alone.  Raises errors.ClientError."""
    if not client.address.startswith("unix://"):
        return client.address.rstrip("/")
    listen = os.environ.get("RUNNERD_LISTEN") or _DEFAULT
    address = f"http://{listen}"
    version = client.json("GET", "/version")
    try:
        same = Client(address).json("GET", "/version") == version
    except DaemonError:
        same = False
    if not same:
        raise ClientError(
            f"these clients need TCP, and this daemon does not answer at {address};"
            " --host http://HOST:PORT names its address"
        )
    return address


def _some_model(client: Client) -> str:
    """A model that can chat, one that knows tools first.  Raises errors.NotFound."""
    models: list[dict[str, Any]] = client.json("GET", "/models")
    able = [m for m in models if "completion" in m["runnerd"]["capabilities"] and m.get("tags")]
    able.sort(key=lambda model: "tools" not in model["runnerd"]["capabilities"])
    if not able:
        raise NotFound("no model here can chat; `runnerd pull` gets one")
    return familiar(able[0]["tags"][0])


def _claude(address: str, model: str, key: str) -> Setup:
    models = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
              "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL")  # fmt: skip
    variables = {
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_AUTH_TOKEN": key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        **dict.fromkeys(models, model),
    }
    return Setup(variables, without=("ANTHROPIC_API_KEY",))


def _codex(address: str, model: str, key: str) -> Setup:
    provider = {
        "name": "runnerd",
        "base_url": f"{address}/v1",
        "wire_api": "responses",
        "env_key": "RUNNERD_CLIENT_KEY",
    }
    settings = [
        "model_provider=runnerd",
        *(
            f"model_providers.runnerd.{name}={json.dumps(value)}"
            for name, value in provider.items()
        ),
    ]
    pairs = [word for setting in settings for word in ("-c", setting)]
    return Setup({"RUNNERD_CLIENT_KEY": key}, arguments=(*pairs, "-m", model))


def _opencode(address: str, model: str, key: str) -> Setup:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "runnerd",
        "options": {"baseURL": f"{address}/v1", "apiKey": key},
        "models": {model: {"name": model}},
    }
    document = {"provider": {"runnerd": provider}, "model": f"runnerd/{model}"}
    return Setup({"OPENCODE_CONFIG_CONTENT": json.dumps(document)})


_SETUPS = {"claude": _claude, "codex": _codex, "opencode": _opencode}


def _print(setup: Setup, command: list[str]) -> None:
    """Print a command line for a shell; keys are left to the environment."""
    for name in setup.without:
        print(f"unset {name}")
    for name, value in setup.variables.items():
        print(f"export {name}={shlex.quote(value)}")
    print(shlex.join(command))
