"""`import -r` and `import --from`: models that are on this host already, found where they lie.

What another program has is borrowed: the daemon uses its files in place, and neither program has to
copy or give up anything.  Each program keeps its models in its own way (`ollama`, `lmstudio`,
`huggingface`); a `FoundModel` is what they have in common.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from runnerd.cli.client import Client
from runnerd.cli.ollama_models import models_of_ollama, set_up
from runnerd.cli.tables import familiar, print_json, print_table
from runnerd.cli.taken_names import is_taken
from runnerd.cli.taking_in import take_in
from runnerd.errors import ClientError, NotFound, RunnerdError
from runnerd.models.found_models import FoundModel, folders_below, gguf_sets
from runnerd.models.reference import HUGGING_FACE, HUGGING_FACE_NAMES, one_spelling
from runnerd.models.sources import default_reference
from runnerd.units import rounded_size

_QUANTIZATION = re.compile(
    r"[-._]((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|BF16|F16|F32|MXFP4\w*))", re.IGNORECASE
)


def models_below(folder: Path) -> Iterator[Path]:
    """The models in a folder and those below: one file of each, or its folder.

    Raises errors.NotFound where there are none.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder} is no folder")
    found = False
    for each in folders_below(folder):
        for model in gguf_sets(each):
            found = True
            yield model.path
    if not found:
        raise NotFound(f"there is no GGUF file in {folder} or below")


def models_of_others(options: argparse.Namespace) -> int:
    """Take in what another program has; say of each model what became of it."""
    found = _wanted(_found(options), options.path)
    if options.list:
        _print_found(found, as_json=options.json)
        return 0
    client, failed, documents = Client(options.host), 0, []
    for model in found:
        if model.name and not options.force and is_taken(client, model.name):
            print(f"{model.name} is here already", file=sys.stderr)
            continue
        try:
            documents.append(_adopt(client, options, model))
        except RunnerdError as error:
            failed += 1
            print(f"runnerd: {model.shown}: {error.message}", file=sys.stderr)
    if options.json:
        print_json(documents)
    return 1 if failed else 0


def _adopt(client: Client, options: argparse.Namespace, model: FoundModel) -> object:
    given = argparse.Namespace(**vars(options))
    given.mmproj = str(model.mmproj) if model.mmproj else options.mmproj
    document = take_in(client, given, model.path, tag=model.name or None, borrow=not options.copy)
    if model.settings:
        name = model.name or str(document["tags"][0])
        set_up(client, name, model.settings)
    return document


def _wanted(found: Sequence[FoundModel], names: Sequence[str]) -> list[FoundModel]:
    """Those that somebody named, with * for anything; without names all.

    Raises errors.NotFound for a name that none has.
    """
    if not names:
        return list(found)
    chosen: list[FoundModel] = []
    for name in names:
        fitting = [model for model in found if _fits(model, name)]
        if not fitting:
            known = ", ".join(model.shown for model in found[:20])
            raise NotFound(f"there is no model {name} there; there are {known or 'none'}")
        chosen += [model for model in fitting if model not in chosen]
    return chosen


def _fits(model: FoundModel, name: str) -> bool:
    shown = model.shown.lower()
    plain = shown.removesuffix(":latest")
    pattern = name.lower()
    hub, slash, rest = pattern.partition("/")
    if slash and hub in HUGGING_FACE_NAMES:
        pattern = f"{HUGGING_FACE}/{rest}"
    return any(fnmatch.fnmatchcase(each, pattern) for each in (shown, plain, _called(model)))


def _print_found(found: Sequence[FoundModel], *, as_json: bool) -> None:
    if as_json:
        print_json([model.to_json() for model in found])
        return
    rows = [(_called(m), rounded_size(m.size), str(m.path)) for m in found]
    print_table(("MODEL", "SIZE", "FILE"), rows)


def _called(model: FoundModel) -> str:
    """The name that a model will have here."""
    return familiar(model.name or str(default_reference(model.path.name)))


def _found(options: argparse.Namespace) -> list[FoundModel]:
    """What a program has on this host.  Raises errors.NotFound."""
    places, find = _PROGRAMS[options.source]
    folders = [Path(options.folder)] if options.folder else [Path(p).expanduser() for p in places()]
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        looked = ", ".join(map(str, folders))
        raise NotFound(f"{options.source} has no models in {looked}; --folder names another place")
    try:
        return [model for folder in there for model in find(folder)]
    except OSError as error:
        raise ClientError(f"{error.filename} cannot be read: {error.strerror}") from error


def _of_lmstudio(folder: Path) -> Iterator[FoundModel]:
    """PUBLISHER/REPOSITORY/FILE.gguf; the names are made of the files'."""
    for each in folders_below(folder):
        yield from gguf_sets(each)


def _of_huggingface(folder: Path) -> Iterator[FoundModel]:
    """Its cache: models--ORG--REPO/snapshots/REVISION/..., of the revision that `main` is."""
    for repository in sorted(folder.glob("models--*--*")):
        _, organisation, name = repository.name.split("--", 2)
        main = repository / "refs" / "main"
        revisions = sorted((repository / "snapshots").glob("*"))
        if main.is_file():
            named = repository / "snapshots" / main.read_text("utf-8", "replace").strip()
            revisions = [named] if named.is_dir() else revisions[-1:]
        for revision in revisions[-1:]:
            for each in folders_below(revision):
                for model in gguf_sets(each):
                    label = _QUANTIZATION.search(model.path.name)
                    tag = f":{label[1]}" if label else ""
                    yield model.called(one_spelling(f"hf.co/{organisation}/{name}{tag}"))


def _ollama_places() -> list[str]:
    if named := os.environ.get("OLLAMA_MODELS"):
        return [named]
    return ["~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/models"]


def _lmstudio_places() -> list[str]:
    return ["~/.lmstudio/models", "~/.cache/lm-studio/models"]


def _huggingface_places() -> list[str]:
    if named := os.environ.get("HF_HUB_CACHE"):
        return [named]
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return [f"{home}/hub"]


_Program = tuple[Callable[[], list[str]], Callable[[Path], Iterator[FoundModel]]]
_PROGRAMS: dict[str, _Program] = {
    "ollama": (_ollama_places, models_of_ollama),
    "lmstudio": (_lmstudio_places, _of_lmstudio),
    "huggingface": (_huggingface_places, _of_huggingface),
}
