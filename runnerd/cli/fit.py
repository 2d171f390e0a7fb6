"""`runnerd fit`: what a model needs, where it would lie, who would go, how long a context fits."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import urlencode

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.near_models import sought_elsewhere
from runnerd.cli.tables import print_json, print_table
from runnerd.units import rounded_size

_UNFIT = 1


def fit(options: argparse.Namespace) -> int:
    """Print it; the status is 1 where the model does not fit at all."""
    named = ("context", "parallel", "mode")
    query = {name: value for name in named if (value := getattr(options, name)) is not None}
    client = Client(options.host)
    with sought_elsewhere(client, [options.model], replaces=False):
        found = client.json("GET", _path(options.model, query))
    if options.json:
        print_json(found)
    else:
        print(found["sentence"])
        if not found["here"]:
            print(f"It is not here; a pull fetches {rounded_size(found['bytes'])}.")
        if found["parallel"] and found["parallel"] != found["least_parallel"]:
            need = " and ".join(
                f"{rounded_size(amount)} of {device}" for device, amount in found["need"].items()
            )
            print(f"For {found['parallel']} requests at a time it takes {need}.")
        print_table(("DEVICE", "NEED", "ROOM NOW", "AT MOST"), [_row(d) for d in found["devices"]])
    return _UNFIT if found["fits"] == "no" else 0


def say_fit(client: Client, model: str, **asked: object) -> None:
    """Say how a model fits, for commands that do something else with it; nothing where that is not
    known.
    """
    if said := sentence(client, model, **asked):
        print(said, file=sys.stderr)


def sentence(client: Client, model: str, **asked: object) -> str:
    """How a model fits, in words; empty where that is not known."""
    try:
        return str(client.json("GET", _path(model, {**asked, "here": "true"}))["sentence"])
    except DaemonError:
        return ""


def _path(model: str, query: dict[str, Any]) -> str:
    return f"/runnerd/fit?{urlencode({'model': model, **query})}"


def _row(device: dict[str, Any]) -> tuple[str, ...]:
    sizes = (device["need"], device["room"], device["most"])
    return (device["id"], *(rounded_size(size) for size in sizes))
