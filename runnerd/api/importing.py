"""Taking models in: by path, or as an archive; and which there are in a folder of the host.

Paths are for the daemon's own user (or root) on the Unix socket only: anyone else could have the
daemon read files that they may not read themselves.  Others send the files as an archive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from runnerd import threads
from runnerd.access import Action, PrincipalKind
from runnerd.api.context import CONTEXT, json_body, json_response, principal_of, text_field
from runnerd.api.docker_errors import DOCKER
from runnerd.api.progress import final_line, progress_line
from runnerd.api.progress_stream import Tell, stream_work
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, Forbidden, NotFound
from runnerd.models.found_models import FoundModel, folders_below, gguf_sets
from runnerd.models.intake import Progress
from runnerd.models.model import Model
from runnerd.sockets.peer import peer_credentials

ROUTES = Routes()

_MOST_FOUND = 500
_MOST_FOLDERS = 20_000


@ROUTES.post("/models/import", Action.CREATE_MODEL)
async def import_files(request: web.Request) -> web.StreamResponse:
    """Import files of this host by path; the response is a stream of progress lines.

    With `borrow` they stay where they are and are used there; with `keep-names` no other model
    loses its name to this one.
    """
    _require_same_user(request)
    document = await json_body(request)
    paths = _paths(document.get("path"))
    tag = text_field(document, "tag")
    mmproj = text_field(document, "mmproj")
    template = text_field(document, "chat-template")
    borrow, keep_names = _truth(document, "borrow"), _truth(document, "keep-names")
    store = request.app[CONTEXT].store
    return await _with_progress(
        request,
        lambda progress: store.entrance.import_files(
            paths,
            tag=tag,
            mmproj=Path(mmproj) if mmproj else None,
            chat_template=Path(template) if template else None,
            borrow=borrow,
            keep_names=keep_names,
            progress=progress,
        ),
        "Model imported successfully",
    )


@ROUTES.post("/models/load", Action.CREATE_MODEL, DOCKER)
async def load_archive(request: web.Request) -> web.StreamResponse:
    """Take a model as a tar stream; it is not tagged."""
    store = request.app[CONTEXT].store

    async def chunks() -> AsyncIterator[bytes]:
        while data := await request.content.readany():
            yield data

    return await _with_progress(
        request,
        lambda progress: store.entrance.load_archive(chunks(), progress),
        "Model loaded successfully",
    )


@ROUTES.get("/runnerd/files", Action.CREATE_MODEL)
async def models_of_files(request: web.Request) -> web.Response:
    """The models in a folder of this host (`path`) and those below it, or the one of a file.

    Each as `{"model", "size_bytes", "file", "mmproj"}`; at most 500.
    """
    _require_same_user(request)
    [path] = _paths(request.query.get("path"))
    try:
        found = await threads.run(_found, path)
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
    if not found:
        raise NotFound(f"there is no GGUF file in {path} or below")
    return json_response([each.to_json() for each in found])


def _found(path: Path) -> list[FoundModel]:
    if stat.S_ISREG((status := path.stat()).st_mode):
        return [FoundModel(path, status.st_size)]
    folders = islice(folders_below(path), _MOST_FOLDERS)
    return list(islice((each for folder in folders for each in gguf_sets(folder)), _MOST_FOUND))


def _truth(document: dict[str, Any], name: str) -> bool:
    """A member that is true or false, false where it is not said.  Raises errors.ClientError."""
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise ClientError(f"{name} must be true or false", param=name)
    return bool(value)


def _paths(value: object) -> list[Path]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ClientError("path must be a path or a list of paths", param="path")
    paths = [Path(name) for name in names]
    if not all(path.is_absolute() and "\0" not in str(path) for path in paths):
        raise ClientError("path must be absolute", param="path")
    return paths


def _require_same_user(request: web.Request) -> None:
    principal, transport = principal_of(request), request.transport
    peer = None if transport is None else peer_credentials(transport.get_extra_info("socket"))
    its_own = peer is not None and peer.uid in (0, os.getuid())
    if not its_own or principal.kind is not PrincipalKind.OWNER:  # of a proxy the peer says nothing
        raise Forbidden(
            "importing by path is for the daemon's own user on its Unix socket; "
            "send the files to POST /models/load instead"
        )


async def _with_progress(
    request: web.Request,
    work: Callable[[Callable[[Progress], None]], Awaitable[Model]],
    success: str,
) -> web.StreamResponse:
    """Answer with the progress of `work`, one JSON object a line (wire contract of DMR).

    A failure before the first line is an ordinary error; later it is a line of type `error`.
    The work is cancelled when the client leaves.
    """

    async def told(tell: Tell) -> bytes:
        news = ""

        def step(event: Progress) -> None:
            nonlocal news
            news = event.message or news
            tell(progress_line(event, "Stored"))

        model = await work(step)
        message = f"{success} ({news})" if news else success
        return final_line("success", message, model=model.to_json())

    return await stream_work(
        request,
        told,
        content_type="application/json",
        failed=lambda error: final_line("error", error.message),
    )
