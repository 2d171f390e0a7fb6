"""What can be typed after `runnerd import`, `pull`, `ls`, `rm` and what else is about models."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from runnerd.cli.command_parser import model_name

_Add = Callable[[str, str, str], argparse.ArgumentParser]

_TAKE = "even if another model has the name, which then loses it"


def add_model_commands(add: _Add) -> None:
    """Add the commands on models to the parser's others."""
    _add_imports(add)
    _add_transfers(add)
    _json(add("ls", "list the models", "models"))
    show = add("show", "everything about models", "models")
    show.add_argument("model", nargs="+", type=model_name)
    show.add_argument("--template", action="store_true", help="print the chat template alone")
    _json(show)
    for name, module, what in (
        ("tag", "models", "give a model one more name"),
        ("cp", "making", "the same as tag, under Ollama's name; nothing is copied"),
    ):
        tag = add(name, what, module)
        tag.add_argument("model", type=model_name)
        tag.add_argument("name", nargs="+", type=model_name)
        tag.add_argument("--force", action="store_true", help=_TAKE)
        _json(tag)
    remove = add("rm", "remove names; with its last one a model", "models")
    remove.add_argument("model", nargs="+", type=model_name)
    remove.add_argument("--force", action="store_true", help="even if it is in use")
    _json(remove)
    _add_questions(add)


def _add_imports(add: _Add) -> None:
    take = add("import", "take GGUF files, folders with a model or archives in", "imports")
    take.add_argument("path", nargs="*", help="files or folders; with --from, names of models")
    take.add_argument("-r", "--recursive", action="store_true", help="every model below a folder")
    take.add_argument(
        "--from",
        dest="source",
        choices=("ollama", "lmstudio", "huggingface"),
        help="the models that another program has on this host",
    )
    take.add_argument("--folder", metavar="DIR", help="with --from: where that program has them")
    take.add_argument("--list", action="store_true", help="with --from: print them, take none")
    take.add_argument("--copy", action="store_true", help="with --from: copy, do not borrow")
    take.add_argument(
        "--in-place", action="store_true", help="borrow: use the files where they are, for good"
    )
    take.add_argument("--tag", metavar="NAME", help="default: from the file's name")
    take.add_argument("--mmproj", metavar="FILE", help="projector of a vision model")
    take.add_argument("--chat-template", metavar="FILE", help="Jinja template to use")
    take.add_argument("--force", action="store_true", help=_TAKE)
    _json(take)
    create = add("create", "make a model as a Modelfile says", "making")
    create.add_argument("model", type=model_name)
    create.add_argument("-f", "--file", default="Modelfile", metavar="FILE")
    create.add_argument("-q", "--quantize", metavar="TYPE", help="such as q4_K_M")
    create.add_argument("--force", action="store_true", help=_TAKE)
    _json(create)


def _add_transfers(add: _Add) -> None:
    pull = add(
        "pull",
        "get models: from a registry, hf.co/ORG/REPO[:QUANT], a URL, pantry://download/...",
        "pull",
    )
    pull.add_argument("model", nargs="+", type=model_name)
    pull.add_argument("--tag", metavar="NAME", help="what to call it; default: as it was asked for")
    pull.add_argument("--force", action="store_true", help=_TAKE)
    pull.add_argument("--revision", metavar="REV", help="of a Hugging Face repository")
    pull.add_argument(
        "--no-draft",
        action="store_true",
        help="leave the model out that drafts for this one, where a repository has one",
    )
    pull.add_argument("--sha256", metavar="HEX", help="of the file behind a URL")
    _json(pull)
    push = add("push", "send models to the registry that their names say", "pull")
    push.add_argument("model", nargs="+", type=model_name)
    _format(push)
    _json(push)
    export = add("export", "write a model to an archive, which `import` takes", "exporting")
    export.add_argument("model", type=model_name)
    export.add_argument(
        "-o", "--output", metavar="FILE.tar", help="default: MODEL.tar; - is standard output"
    )
    export.add_argument("--force", action="store_true", help="overwrite a file that is there")
    _format(export)
    _json(export)
    _json(add("pulls", "list the pulls and pushes that are under way", "pull"))
    cancel = add("cancel", "end pulls or pushes (see `pulls`); what has arrived stays", "pull")
    cancel.add_argument("id", nargs="+")
    _json(cancel)
    _json(
        add("prune", "remove leftovers: blobs of no model, pulls that nobody goes on with", "pull")
    )


def _add_questions(add: _Add) -> None:
    embed = add("embed", "print the vectors of texts", "vectors")
    embed.add_argument("model", type=model_name)
    embed.add_argument("text", nargs="*", help="default: the lines of standard input")
    embed.add_argument("--dimensions", type=int, metavar="N", help="shorter vectors")
    _json(embed)
    rerank = add("rerank", "order documents by how well they fit a question", "vectors")
    rerank.add_argument("model", type=model_name)
    rerank.add_argument("query")
    rerank.add_argument("document", nargs="*", help="default: the lines of standard input")
    rerank.add_argument("--top", type=int, metavar="N", help="the best N only")
    _json(rerank)


def _format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("docker", "modelpack"),
        default="docker",
        help="how it is written there: as Docker Model Runner does (default), or as the CNCF's"
        " ModelPack",
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
