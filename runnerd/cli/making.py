"""Commands that make models of others: create, cp."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from http.client import NOT_FOUND
from pathlib import Path

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.modelfile_text import ModelfileText, parse_modelfile
from runnerd.cli.models import tag
from runnerd.cli.progress import Display, display
from runnerd.cli.tables import print_json
from runnerd.cli.taken_names import check_free
from runnerd.errors import ClientError, NotFound, RunnerdError

_CHUNK = 2**20


def create(options: argparse.Namespace) -> int:
    """Make a model as a Modelfile says; files that it names are sent to the daemon."""
    path = Path(options.file)
    try:
        modelfile = parse_modelfile(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"{path} cannot be read: {error}") from error
    client = Client(options.host)
    check_free(client, options.model, options)
    with display(quiet=options.json) as shown:
        document = _document(client, modelfile, path.absolute().parent, shown)
        document["model"] = options.model
        if options.quantize:
            document["quantize"] = options.quantize
        for line in client.lines("POST", "/api/create", document):
            said = json.loads(line)
            if "error" in said:
                raise RunnerdError(str(said["error"]))
            shown.say(said["status"])
    if options.json:
        print_json({"model": options.model, "status": "success"})
    return 0


def cp(options: argparse.Namespace) -> int:
    """Give a model one more name, as `tag`: nothing is copied that would take space."""
    return tag(options)


def _document(
    client: Client, modelfile: ModelfileText, folder: Path, shown: Display
) -> dict[str, object]:
    """The request for what a Modelfile says, once its files have been sent."""
    document: dict[str, object] = {
        "template": modelfile.template,
        "system": modelfile.system,
        "license": modelfile.licenses,
        "parameters": modelfile.parameters,
        "messages": modelfile.messages,
    }
    if files := _files(modelfile.base, folder):
        document["files"] = {file.name: _sent(client, file, shown) for file in files}
    else:
        document["from"] = modelfile.base
    if adapters := [_adapter(name, folder) for name in modelfile.adapters]:
        document["adapters"] = {file.name: _sent(client, file, shown) for file in adapters}
    return {name: value for name, value in document.items() if value}


def _files(base: str, folder: Path) -> list[Path]:
    """The files that FROM names; none where it names a model."""
    path = folder / Path(base).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := sorted(path.glob("*.gguf")):
            return found
        raise NotFound(f"{path} has no GGUF file")
    if base.startswith((".", "/", "~")) or base.endswith(".gguf"):
        raise NotFound(f"FROM {base}: there is no such file")
    return []


def _adapter(name: str, folder: Path) -> Path:
    path = folder / Path(name).expanduser()
    if not path.is_file():
        raise NotFound(f"ADAPTER {name}: there is no such file")
    return path


def _sent(client: Client, path: Path, shown: Display) -> str:
    """Send a file unless the daemon has it; return its digest."""
    try:
        size = path.stat().st_size
        digest = _digest(path, size, shown)
        try:
            client.open("HEAD", f"/api/blobs/{digest}").close()
        except DaemonError as error:
            if error.answer_status != NOT_FOUND:
                raise
            body = _chunks(path, "sending", size, shown)
            headers = {"Content-Length": str(size)}
            client.open("POST", f"/api/blobs/{digest}", headers=headers, body=body).close()
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest


def _digest(path: Path, size: int, shown: Display) -> str:
    found = hashlib.sha256()
    for chunk in _chunks(path, "reading", size, shown):
        found.update(chunk)
    return f"sha256:{found.hexdigest()}"


def _chunks(path: Path, verb: str, size: int, shown: Display) -> Iterator[bytes]:
    done = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
            done += len(chunk)
            shown.advance(f"{verb} {path.name}", done, size)
