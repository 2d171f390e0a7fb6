"""People's own clients, pointed at a daemon.  Each is to be closed, by `with`."""

from __future__ import annotations

import anthropic
import ollama
import openai

from tests.support.daemon import DaemonProcess

_KEY = "unused"


def openai_client(daemon: DaemonProcess, path: str = "/v1") -> openai.OpenAI:
    """Return OpenAI's client, which tries nothing twice."""
    return openai.OpenAI(base_url=daemon.address + path, api_key=_KEY, max_retries=0)


def anthropic_client(daemon: DaemonProcess, path: str = "") -> anthropic.Anthropic:
    """Return Anthropic's client, which tries nothing twice."""
    return anthropic.Anthropic(base_url=daemon.address + path, api_key=_KEY, max_retries=0)


def ollama_client(daemon: DaemonProcess) -> ollama.Client:
    """Return Ollama's client."""
    return ollama.Client(host=daemon.address, timeout=60)
