"""Asking a file that may be a llama-server what it is: whether it runs, and what it can do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from runnerd import threads
from runnerd.backends.commands import run_command
from runnerd.backends.llamacpp import places
from runnerd.backends.llamacpp.devices import listed_devices
from runnerd.backends.llamacpp.isolation import Isolation
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.places import Place
from runnerd.errors import BackendFailure, HostExhausted

_PROBE_TIMEOUT = 30.0  # a CUDA build initialises the driver first
_HELP_BYTES = 512 * 2**10
_VERSION = re.compile(r"version:\s*(\S+)(?:\s*\((?:build \d+, commit )?([0-9A-Za-z]+)\))?")
_OPTION = re.compile(r"(?<![\w-])--[a-z0-9][a-z0-9-]*")
_TELLING_VARIANT = {"--list-devices", "--verbosity"}
_TRACE = "4"  # the verbosity at which it says what it loads
_PICKED = re.compile(r"loaded CPU backend from \S*libggml-cpu-([\w-]{1,40})\.so")
_UNIX_SOCKETS = re.compile(r"unix socket", re.IGNORECASE)


class Examination:
    """Asks as engines are run: under their rules, and as whom they are.

    `has_cards`: this host has GPUs that an engine may compute on.
    """

    def __init__(
        self, isolation: Isolation, environment: Callable[[], Mapping[str, str]], *, has_cards: bool
    ) -> None:
        self._isolation = isolation
        self._environment = environment
        self._has_cards = has_cards

    async def of(self, place: Place) -> NativeServer | BackendFailure:
        """The server of a place with its version, options and devices, or why there is none.

        Raises errors.HostExhausted.
        """
        path = place.path
        try:
            version = await self._ask(path, "--version")
            words = await self._ask(path, "--help")
            options = frozenset(_OPTION.findall(words))
        except HostExhausted:
            raise  # says nothing about the file
        except BackendFailure as failure:
            return failure
        devices = await self._devices(path) if "--list-devices" in options else ""
        variant = await self._variant(path) if options >= _TELLING_VARIANT else ""
        if _UNIX_SOCKETS.search(words) is None and "--host" in options:
            return BackendFailure(
                f"{path} is too old: it serves on no Unix socket (llama.cpp of April 2025 and later"
                " does); runnerd install llama.cpp --with cpu builds one beside it"
            )
        match = _VERSION.search(version)
        name = "unknown" if match is None else match[1] + (f" ({match[2]})" if match[2] else "")
        return NativeServer(
            path, name, options, place.name, listed_devices(devices), variant=variant
        )

    async def _devices(self, path: Path) -> str:
        """What the server lists as devices that it can use.  Raises errors.HostExhausted."""
        listed = await self._listed(path)
        if self._isolation.changes_users and self._has_cards and not listed_devices(listed):
            listed = await self._listed(path, own_user=False)
            if listed_devices(listed):
                self._isolation.keep_user_on_devices(f"no other user can use the GPU with {path}")
        return listed

    async def _variant(self, path: Path) -> str:
        """Which of its variants of the code for processors a portable server picks here.

        Raises errors.HostExhausted.
        """
        if not await threads.run(places.variants, path):
            return ""
        listed = await self._listed(path, "--verbosity", _TRACE)
        match = _PICKED.search(listed)
        return "" if match is None else match[1]

    async def _listed(self, path: Path, *before: str, own_user: bool = True) -> str:
        try:
            return await self._ask(path, *before, "--list-devices", own_user=own_user)
        except HostExhausted:
            raise
        except BackendFailure:
            return ""  # then it has none that could be used

    async def _ask(self, path: Path, *arguments: str, own_user: bool = True) -> str:
        async with self._isolation.of(path, devices=True, own_user=own_user) as sandbox:
            result = await run_command(
                [str(path), *arguments],
                timeout=_PROBE_TIMEOUT,
                environment=self._environment(),
                sandbox=sandbox,
                output_bytes=_HELP_BYTES,
            )
        if result.code != 0:
            lines = result.output.strip().splitlines()
            detail = lines[-1] if lines else "it printed nothing"
            raise BackendFailure(f"{path} does not run ({result.reason}): {detail}")
        return result.output
