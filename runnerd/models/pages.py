"""Addresses of pages that show a model, as people paste them out of their browsers.

The page of a model is what people have at hand, so it names the model: on Hugging Face a repository
or one of its files, on Ollama's site and Docker Hub an entry of their libraries.  An address that
is none of these stays what it is; that of a file (`/resolve/`) is fetched as it is.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

_HUB = ("huggingface.co", "hf.co", "www.huggingface.co", "www.hf.co")
_OLLAMA = ("ollama.com", "www.ollama.com", "ollama.ai", "registry.ollama.ai")
_DOCKER = ("hub.docker.com",)
_REGISTRY = "registry.ollama.ai"
_LIKELY = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|(?:registry\.)?ollama\.(?:com|ai)|hub\.docker\.com)/",
                     re.IGNORECASE)  # fmt: skip


def model_of_page(text: str) -> str:
    """The model that a pasted address shows, as it is written for a pull; else the text itself."""
    text = text.strip()
    if not _LIKELY.match(text):
        return text
    address = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
    except ValueError:
        return text
    path = [unquote(part) for part in parts.path.split("/") if part]
    if host in _HUB:
        return _hub(path, parse_qs(parts.query).get("show_file_info", [""])[0]) or text
    if host in _OLLAMA:
        return _ollama(path) or text
    if host in _DOCKER:
        return _docker(path) or text
    return text


def _hub(path: list[str], shown: str) -> str | None:
    """`ORG/REPO`, with `/tree/REVISION`, `/blob/REVISION/FILE` or other pages of it."""
    if len(path) < 2 or path[0] in ("datasets", "spaces", "api"):
        return None
    organisation, repository, *rest = path
    if ":" in repository or "@" in repository:  # a reference with a scheme before it
        return None if rest else f"hf.co/{organisation}/{repository}"
    if rest and rest[0] not in _PAGES:
        return None
    revision = f"@{rest[1]}" if rest[1:] and rest[1] != "main" else ""
    file = rest[-1] if len(rest) > 2 and rest[0] == "blob" else shown
    label = f":{file.rpartition('/')[2]}" if file.lower().endswith(".gguf") else ""
    return f"hf.co/{organisation}/{repository}{revision}{label}"


_PAGES = ("tree", "blob", "discussions", "commits", "edit")


def _ollama(path: list[str]) -> str | None:
    """`library/NAME[:TAG]`, `NAME[:TAG]` or `USER/NAME[:TAG]`, perhaps a page of it."""
    if path[-1:] == ["tags"] or path[-2:-1] == ["blobs"]:
        path = path[: -1 if path[-1] == "tags" else -2]
    if len(path) == 1:
        path = ["library", *path]
    if len(path) != 2 or path[0] in ("search", "blog", "download", "api", "v2"):
        return None
    return f"{_REGISTRY}/{path[0]}/{path[1]}"


def _docker(path: list[str]) -> str | None:
    """`r/NAMESPACE/NAME`, perhaps with `/tags`."""
    if len(path) < 3 or path[0] != "r":
        return None
    return f"{path[1]}/{path[2]}"
