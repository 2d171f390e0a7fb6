"""Engines for tests: the fake one with its faults, and where the real ones are."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from runnerd.backends.interface import BackendContext
from runnerd.backends.llamacpp.trial.identity import engine_identity, this_processor
from runnerd.backends.llamacpp.trial.verdicts import FILE_NAME, Verdict, Verdicts
from runnerd.backends.model_files import ModelFacts, ModelFiles
from runnerd.errors import ModelNotFound
from runnerd.relay.operations import ENGINE_ROUTES

FAKE_ENGINE = Path(__file__).parents[1] / "faults" / "fake_engine.py"


def fake_engine(folder: Path, *faults: str) -> Path:
    """Return a llama-server with these faults (tests/faults/fake_engine.py), for setting `path`."""
    script = folder / f"fake-{'-'.join(faults) or 'sound'}" / "llama-server"
    script.parent.mkdir(exist_ok=True)
    # Beside it, and run by the Python that every child may run: it reaches nothing else.
    program = shutil.copy(str(FAKE_ENGINE), script.parent)
    command = [os.path.realpath(sys.executable), "-I", str(program), "--faults", ",".join(faults)]
    command += ["--folder", str(script.parent)]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o755)
    pass_trial(script)
    return script


def pass_trial(server: Path) -> None:
    """Write down that an engine runs on this processor, so that it is not tried first."""
    identity = this_processor().identity + engine_identity(server)
    Verdicts([server.parent / FILE_NAME]).put(identity, Verdict("works"))


@dataclass
class Folder:
    """A model resolver on a folder of GGUF files: model `x` is `x.gguf`."""

    path: Path
    facts: ModelFacts = field(default_factory=lambda: ModelFacts(context_length=512))

    def resolve(self, model: str) -> ModelFiles:
        file = self.path / f"{model}.gguf"
        if not file.exists():
            raise ModelNotFound(f"no model {model}")
        return ModelFiles(file, file.stat().st_size, facts=self.facts)


def context(folder: Path, models: Path | None = None, **settings: object) -> BackendContext:
    """Return a backend's context with everything inside `folder`."""
    resolver = Folder(models or folder)
    return BackendContext(
        resolver, folder / "state", folder / "log", settings, routes=ENGINE_ROUTES
    )
