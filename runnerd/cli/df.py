"""`runnerd df`: what lies on the disk."""

from __future__ import annotations

import argparse

from runnerd.cli.client import Client
from runnerd.cli.tables import familiar, print_json, print_table
from runnerd.units import binary_size

_MODELS = "models_disk_usage"


def df(options: argparse.Namespace) -> int:
    """Print how much models and engines take, and each model's own size."""
    client = Client(options.host)
    usage = client.json("GET", "/engines/df")
    if options.json:
        print_json(usage)
        return 0
    rows: list[tuple[str, str]] = [
        (", ".join(map(familiar, model.get("tags") or ["<none>"])), model["config"].get("size", ""))
        for model in client.json("GET", "/models")
    ]
    print_table(("MODEL", "SIZE"), rows)
    print(f"\nmodels   {binary_size(usage[_MODELS])} (files that models share count once)")
    if unfinished := usage.get("unfinished_disk_usage"):
        print(f"partial  {binary_size(unfinished)} (pulls and imports that are not finished)")
    if prunable := usage.get("prunable_disk_usage"):
        print(f"prunable {binary_size(prunable)} (of these, what `runnerd prune` would remove)")
    if borrowed := usage.get("borrowed_disk_usage"):
        print(f"borrowed {binary_size(borrowed)} (files of others, used where they lie)")
    if copies := usage.get("bare_models_disk_usage"):
        print(f"copies   {binary_size(copies)} (bare models, which programs open)")
    if jobs := usage.get("jobs_disk_usage"):
        print(_jobs(jobs))
    print(f"engines  {binary_size(usage['default_backend_disk_usage'])}")
    if "state_dir" in usage:
        print(f"below    {usage['state_dir']}")
    return 0


def _jobs(usage: dict[str, int]) -> str:
    """What jobs take that are kept, and what those of one user may take."""
    prompts, results = usage["prompts"], usage["results"]
    most = (binary_size(usage["most_prompts"]), binary_size(usage["most_results"]))
    return (
        f"jobs     {binary_size(prompts + results)} (prompts {binary_size(prompts)}, results"
        f" {binary_size(results)}; one user's at most {most[0]} and {most[1]})"
    )
