"""`runnerd jobs`, `submit`, `watch` and `queues`: work that waits."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote, urlencode

from runnerd.cli.all_known import check_all_known
from runnerd.cli.client import Client
from runnerd.cli.tables import familiar, moment, print_fields, print_json, print_table
from runnerd.errors import ClientError, JobNotFound

_PATH = "/runnerd/jobs"
_MOST = 1000
_STATES = ("queued", "running", "completed", "failed", "cancelled", "expired")


def list_all(options: argparse.Namespace) -> int:
    """List jobs, the newest first."""
    asked = {"state": options.state, "model": options.model, "limit": options.limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found = Client(options.host).json("GET", f"{_PATH}?{query}")
    if options.json:
        print_json(found)
        return 0
    rows = [
        (
            job["id"],
            job["user"],
            familiar(job["model"]),
            job["state"],
            moment(job["created"]),
            f"{job['runtime_seconds']:.1f}",
            job["reason"],
        )
        for job in found
    ]
    print_table(("ID", "USER", "MODEL", "STATE", "SUBMITTED", "SECONDS", "REASON"), rows)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print everything about a job."""
    client = Client(options.host)
    _print(client.json("GET", _path(client, options.id)), as_json=options.json)
    return 0


def cancel(options: argparse.Namespace) -> int:
    """Cancel jobs; 1 if one of them had ended before, with whatever it has."""
    ended = [job for job in _each(options, "POST", "/cancel") if _came_to_an_end(job)]
    for job in ended:
        print(f"job {job['id']} had ended already: {job['state']}", file=sys.stderr)
    return 1 if ended else 0


def _came_to_an_end(job: dict[str, Any]) -> bool:
    return job["ended"] is not None and job["state"] != "cancelled"


def retry(options: argparse.Namespace) -> int:
    """Queue jobs again that have ended without a result."""
    _each(options, "POST", "/retry")
    return 0


def rm(options: argparse.Namespace) -> int:
    """Forget jobs and what came of them."""
    _each(options, "DELETE", "")
    return 0


def _each(options: argparse.Namespace, method: str, action: str) -> list[dict[str, Any]]:
    client, jobs = Client(options.host), []
    paths = [_path(client, id) for id in options.id]
    if len(paths) > 1:
        check_all_known(client, paths, "done")
    for path in paths:
        found = client.json(method, path + action)
        if options.json:
            print_json(found)
        else:
            print(found["id"], found.get("state", "deleted"))
        jobs.append(found)
    return jobs


def submit(options: argparse.Namespace) -> int:
    """Submit a job; its prompts are arguments, or standard input."""
    prompts = options.prompt or [sys.stdin.read()]
    document: dict[str, Any] = {"model": options.model, "prompts": prompts}
    parameters = {
        name: getattr(options, name)
        for name in ("max_tokens", "temperature", "seed")
        if getattr(options, name) is not None
    }
    if parameters:
        document["parameters"] = parameters
    for name in ("id", "priority", "expires_in", "runtime", "copies"):
        if (value := getattr(options, name)) is not None:
            document[name] = value
    jobs = Client(options.host).json("POST", _PATH, document)
    if options.json:
        print_json(jobs)
    else:
        for job in jobs:
            print(job["id"])
    if options.watch:
        return max(_watched(options, job["id"]) for job in jobs)
    return 0


def watch(options: argparse.Namespace) -> int:
    """Print the output of a job as it comes; 1 for one that has not completed."""
    return _watched(options, options.id)


def _watched(options: argparse.Namespace, id: str) -> int:
    client = Client(options.host)
    shown, job = "", {"state": "deleted", "reason": ""}
    for line in client.lines("GET", f"{_path(client, id)}?follow=true"):
        if not line.startswith(b"data: "):
            continue
        job = json.loads(line[6:])
        if options.json:
            print(json.dumps(job, ensure_ascii=False), flush=True)
            continue
        output = job["output"]
        if not output.startswith(shown):  # another attempt has begun
            print("\n--- again", flush=True)
            shown = ""
        print(output[len(shown) :], end="", flush=True)
        shown = output
    if not options.json:
        print()
    if job["state"] == "completed":
        return 0
    print(f"job {id}: {job['state']} {job['reason']}".rstrip(), file=sys.stderr)
    return 1


def queues(options: argparse.Namespace) -> int:
    """Print how many jobs there are of each model."""
    found = Client(options.host).json("GET", "/runnerd/queues")
    if options.json:
        print_json(found)
        return 0
    rows = [
        (familiar(queue["model"]), *(queue.get(state, 0) for state in _STATES)) for queue in found
    ]
    print_table(("MODEL", *(state.upper() for state in _STATES)), rows)
    return 0


def _path(client: Client, id: str) -> str:
    """The path of a job, of whose id the end is enough."""
    if not id.strip():
        raise ClientError("the id is empty; `runnerd jobs` shows all")
    if len(id) < 32:
        found = client.json("GET", f"{_PATH}?limit={_MOST}")
        ids = [job["id"] for job in found if job["id"].endswith(id)]
        if len(ids) > 1 and id not in ids:
            raise ClientError(f"there are several jobs whose ids end in {id}")
        if not ids:
            raise JobNotFound(f"there is no job {id!r}; `runnerd jobs` shows all")
        id = id if id in ids else ids[0]
    return f"{_PATH}/{quote(id, safe='')}"


def _print(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    about = {name: job[name] for name in ("id", "user", "model", "state", "reason")}
    about["model"] = familiar(job["model"])
    times = {name: moment(job[name]) for name in ("created", "started", "ended", "deadline")}
    who = {"worker": job["worker"], "given back": f"{job['given_back']} times"}
    print_fields(about | times | (who if job["given_back"] else {"worker": job["worker"]}))
    for attempt in job["attempts"]:
        ended = moment(attempt["ended"]) or "has not ended"
        print(f"attempt:  {ended} {attempt['end']}: {attempt['reason']}")
    if job["output"]:
        print(f"\n{job['output']}")
