"""Where the daemon's API has a model: its path, and the query that gives it a tag."""

from __future__ import annotations

from urllib.parse import quote, urlencode

_TAKEN = ("purge", "pulls")  # paths behind /models/ that are no models


def model_path(name: str) -> str:
    """A model's path in the API, whatever the model is called.

    `DELETE /models/purge` removes every model, as in Docker Model Runner's API, and there is more
    behind `/models/pulls`: models of these names are called by their longer ones.
    """
    full = f"{name}:latest" if name in _TAKEN else name
    return f"/models/{quote(full, safe='')}"


def tag_query(name: str) -> str:
    """The query string that names a model `name`: `repo=...&tag=...`."""
    repository, separator, label = name.rpartition(":")
    if not separator or "/" in label:
        repository, label = name, "latest"
    return urlencode({"repo": repository, "tag": label})
