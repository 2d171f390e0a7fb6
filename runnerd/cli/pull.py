"""Commands that move models: pull, push, pulls, cancel, prune.

The work is the daemon's.  Ctrl-C ends the watching only, and says how to end the work.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from urllib.parse import quote

from runnerd.cli.all_known import check_all_known
from runnerd.cli.client import Client
from runnerd.cli.fit import say_fit
from runnerd.cli.model_paths import model_path
from runnerd.cli.near_models import sought_elsewhere
from runnerd.cli.progress import display, follow
from runnerd.cli.tables import familiar, print_json, print_table
from runnerd.cli.taken_names import check_free
from runnerd.errors import ClientError, NotFound
from runnerd.models.pages import model_of_page
from runnerd.models.reference import Reference, is_of_hugging_face
from runnerd.units import binary_size

_INTERRUPTED = 130
_PUSHED = (
    "pushed: push takes names of models that are here, and a model's name says where it goes"
    " (`runnerd tag MODEL REGISTRY/NAME` gives it one)"
)


def pull(options: argparse.Namespace) -> int:
    """Pull models, one after the other, and show how far they are."""
    if options.tag and len(options.model) > 1:
        raise ClientError(f"--tag names one model, and here are {len(options.model)}")
    if len(options.model) > 1:
        _check_names(options.model)
    check_free(Client(options.host), options.tag, options)
    for model in options.model:
        refuse_file(model)
        document: dict[str, object] = {"from": model}
        for name in ("tag", "revision", "sha256"):
            if value := getattr(options, name):
                document[name] = value
        if options.no_draft:
            document["draft"] = False
        if token := os.environ.get("HF_TOKEN"):
            if is_of_hugging_face(model_of_page(model)):
                document["bearer-token"] = token
        with sought_elsewhere(Client(options.host), [model]):
            status = _watch(options, "/models/create", document, "pull")
        if status:
            return status
    return 0


def refuse_file(model: str) -> None:
    """A file's name is looked for at no registry.  Raises errors.ClientError."""
    if model.lower().endswith(".gguf") and "://" not in model and os.path.isfile(model):
        raise ClientError(
            f"{model} is a file that is here; `runnerd import {model}` makes a model of it"
        )


def _check_names(names: Sequence[str]) -> None:
    """Refuse what can be no model's name, before the first is pulled.

    Raises errors.InvalidReference.
    """
    for name in map(model_of_page, names):
        if "://" not in name and not is_of_hugging_face(name):
            Reference.parse(name)


def pull_missing(host: str | None, model: str, *, as_json: bool = False) -> int:
    """Pull what another command was asked for; the status is that of the command."""
    named = {"model": [model], "tag": None, "revision": None, "sha256": None}
    asked = argparse.Namespace(host=host, json=as_json, force=False, no_draft=False, **named)
    return pull(asked)


def push(options: argparse.Namespace) -> int:
    """Push models, one after the other, and show how far they are."""
    check_all_known(Client(options.host), map(model_path, options.model), _PUSHED)
    for model in options.model:
        path = f"{model_path(model)}/push"
        if options.format != "docker":
            path += f"?format={options.format}"
        if status := _watch(options, path, {}, "push"):
            return status
    return 0


def pulls(options: argparse.Namespace) -> int:
    """List what is under way."""
    jobs = Client(options.host).json("GET", "/models/pulls")
    if options.json:
        print_json(jobs)
        return 0
    rows = [
        (
            job["id"],
            job["kind"],
            familiar(job["model"]),
            f"{100 * job['current'] // job['total']} %" if job["total"] else "",
        )
        for job in jobs
    ]
    print_table(("ID", "KIND", "MODEL", "DONE"), rows)
    return 0


def cancel(options: argparse.Namespace) -> int:
    """End pulls or pushes."""
    client = Client(options.host)
    if len(options.id) > 1:
        under_way = {job["id"] for job in client.json("GET", "/models/pulls")}
        for id in options.id:
            if id not in under_way:
                raise NotFound(
                    f"no pull or push {id!r} is under way, so none was cancelled;"
                    " `runnerd pulls` lists them"
                )
    paths = [f"/models/pulls/{quote(id, safe='')}" for id in options.id]
    ended = [client.json("DELETE", path)["model"] for path in paths]
    if options.json:
        print_json(ended)
    else:
        for model in ended:
            print(f"cancelled {familiar(model)}")
    return 0


def prune(options: argparse.Namespace) -> int:
    """Remove leftovers."""
    response = Client(options.host).json("POST", "/models/prune")
    if options.json:
        print_json(response)
    else:
        print(f"freed {binary_size(response['freed_bytes'])}")
    return 0


def _watch(options: argparse.Namespace, path: str, document: object, kind: str) -> int:
    with Client(options.host).open("POST", path, document) as response:
        job = response.headers.get("X-Runnerd-TransferTask", "")
        try:
            with display(quiet=options.json) as shown:
                event = follow(response, shown)
        except KeyboardInterrupt:
            print(
                f"\nthe {kind} goes on in the daemon; `runnerd cancel {job}` ends it",
                file=sys.stderr,
            )
            return _INTERRUPTED
    if options.json:
        print_json(event["model"])
    else:
        print(f"{event['message']}: {', '.join(map(familiar, event['model']['tags']))}")
        if kind == "pull":
            say_fit(Client(options.host), familiar(event["model"]["tags"][0]))
    return 0
