"""`runnerd ps`: the runners, what each holds of which device, and why something failed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runnerd.cli.client import Client
from runnerd.cli.tables import familiar, print_json, print_table, printable
from runnerd.models.reference import one_spelling
from runnerd.units import format_duration, rounded_size

HEAD = (
    "MODEL", "MODE", "STATE", "CONTEXT", "SLOTS", "WAITING", "TOK/S", "MEMORY", "EXPIRES", "ID",
)  # fmt: skip
SPARE = ("USER", "ID", "MODE", "CONTEXT", "EXPIRES", "TOK/S", "WAITING")
"""Columns that a narrow terminal does without, the first of them first."""

Runner = Mapping[str, Any]


def ps(options: argparse.Namespace) -> int:
    """List the runners."""
    overview = Client(options.host).json("GET", "/runnerd/overview")
    runners = overview["runners"]
    if options.json:
        print_json(runners)
        return 0
    own_users = any(runner.get("user") is not None for runner in runners)
    head = (*HEAD, "USER") if own_users else HEAD
    print_table(head, [row(runner, user=own_users) for runner in runners], spare=SPARE)
    for line in remarks(overview):
        print(line, file=sys.stderr if not runners else sys.stdout)
    return 0


def row(runner: Runner, *, user: bool = False) -> tuple[object, ...]:
    """A runner as a line of the table; `user`: with whom its engine runs as, if not the daemon."""
    speed, slots = runner["tokens_per_second"], runner["slots"]
    return (
        ", ".join(called(runner)),
        runner["mode"],
        "making room" if runner["draining"] else runner["state"],
        runner["context"] or "",
        used(slots) if runner["id"] else "",
        runner["waiting"] or "",
        "" if speed is None else f"{speed:.1f}",
        memory(runner),
        expiry(runner),
        runner["id"] or "",
        *((runner.get("user") or "",) if user else ()),
    )


def called(runner: Runner) -> list[str]:
    """What the models of a runner are called, as by `ls`: that of its first client first."""
    first = one_spelling(runner["model"])
    others = [name for name in map(one_spelling, runner["models"]) if name != first]
    if others and first.startswith(
        "sha256:"
    ):  # who asked for it by its digest has named none of them
        return others
    return [first, *others]


def used(slots: Mapping[str, Any]) -> str:
    """How many of a runner's slots are in use."""
    every = slots["all"]
    return f"{slots['used']}" if every is None else f"{slots['used']}/{every}"


def memory(runner: Runner) -> str:
    """What a runner holds of each device, or what is reserved for it until that is known."""
    parts = []
    for device, amount in runner["memory"].items():
        held = amount["reserved"] if amount["held"] is None else amount["held"]
        parts.append(f"{device} {rounded_size(held)}")
    if runner["mapped"]:
        parts.append(f"mapped {rounded_size(runner['mapped'])}")
    return ", ".join(parts)


def expiry(runner: Runner) -> str:
    """When a runner stops if nobody uses it."""
    if runner["pinned"]:
        return "never (pinned)"
    if not runner["id"]:
        return ""
    if runner["expires"] is None:
        return "in use" if runner["requests"] else "never" if runner["keep_alive"] < 0 else ""
    return f"in {format_duration(seconds_until(runner['expires']))}"


def remarks(overview: Mapping[str, Any]) -> list[str]:
    """Why models failed, and which wait for room."""
    lines = [
        f"{familiar(runner['model'])}: {trouble(runner)}"
        for runner in overview["runners"]
        if runner["failure"]
    ]
    there = {runner["model"] for runner in overview["runners"]}
    lines += [
        f"{familiar(each['model'])}: {each['waiting']} wait for room"
        for each in overview["queue"]["models"]
        if each["model"] not in there
    ]
    return lines


def trouble(runner: Runner) -> str:
    """Why a model has failed, in one line, and when it is tried again."""
    reason = printable((str(runner["failure"]).splitlines() or [""])[0])
    if runner["retry"] is None:
        return reason
    seconds = seconds_until(runner["retry"])
    return f"{reason} (not tried again for {seconds} s; `runnerd load` tries at once)"


def seconds_until(moment: str) -> int:
    """Whole seconds from now to a time of the API; 0 for one that has passed."""
    left = datetime.fromisoformat(moment) - datetime.now(UTC)
    return max(0, round(left.total_seconds()))


def device_lines(devices: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """A bar for each device: held by models (#), reserved beyond that (+), other programs (:)."""
    lines = []
    for device in devices:
        total = max(1, device["total"])
        said = (
            f" models {rounded_size(device['held'])}, reserved {rounded_size(device['reserved'])},"
            f" others {rounded_size(device['others'])} of {rounded_size(device['total'])}"
        )
        label = f"{device['id']:5} "
        room = max(10, min(60, width - len(said) - len(label) - 2))
        held = round(room * device["held"] / total)
        beyond = round(room * max(0, device["reserved"] - device["held"]) / total)
        others = round(room * device["others"] / total)
        bar = ("#" * held + "+" * beyond + ":" * others)[:room].ljust(room, ".")
        lines.append((label + bar + said)[: max(20, width)])
    return lines
