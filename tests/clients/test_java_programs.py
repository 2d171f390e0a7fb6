"""langchain4j, unmodified, against the daemon: Java's HTTP client offers HTTP/2 every time.

Maven gets the library; where there is no Maven, no JDK or no repository, nothing is tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import running

pytestmark = [pytest.mark.engine, pytest.mark.clients]

_ROOT = Path(__file__).parents[2]
_PROGRAMS = Path(__file__).with_name("programs")
_SECONDS = 300
_COUNTED = ", ".join(str(number) for number in range(1, 31)) + "."


def built(folder: Path) -> str:
    """Compile the program into `folder` and return its class path; skip where that cannot be."""
    for tool in ("mvn", "javac", "java"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} on this machine")
    shutil.copytree(_PROGRAMS / "langchain4j", folder)
    path = folder / "classpath"
    maven = ["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={path}"]
    found = subprocess.run(
        maven, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if found.returncode != 0:
        pytest.skip(f"Maven cannot get langchain4j: {found.stdout[-300:]}")
    classes = folder / "classes"
    source = folder / "src" / "main" / "java" / "Program.java"
    libraries = path.read_text().strip()
    compiler = ["javac", "-d", str(classes), "-cp", libraries, str(source)]
    subprocess.run(compiler, check=True, timeout=_SECONDS)
    return f"{classes}:{libraries}"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[list[float]]]:
    """What the program got, by dialect, and the vectors that it should have got."""
    libraries = built(tmp_path_factory.mktemp("java") / "langchain4j")
    with running(tmp_path_factory.mktemp("clients")) as daemon:
        for name in ("demo-a", "demo-embed"):
            daemon.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        process = subprocess.run(
            ["java", "-cp", libraries, "Program", daemon.address],
            env=os.environ | {"QUESTIONS": str(_PROGRAMS / "questions.json")},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-3000:]
        asked = {"model": "demo-embed", "input": ["a cat", "a dog"]}
        entries = daemon.http.post("/v1/embeddings", json=asked).json()["data"]
    return json.loads(process.stdout.splitlines()[-1]), [each["embedding"] for each in entries]


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_langchain4j(results: tuple[dict[str, Any], list[list[float]]], dialect: str) -> None:
    """Chats, streams, tools and their results, schemas, embeddings, errors."""
    found, vectors = results[0][dialect], results[1]
    assert found["chat"] == "My name is Demo A."
    assert found["whole"] == found["stream"]["text"] == _COUNTED
    assert found["stream"]["pieces"] > 20
    assert found["tools"] == ["get_weather", {"city": "Paris"}]
    assert found["told"] == "It is sunny in Paris."
    assert json.loads(found["json"]) == {"name": "Demo A"}
    for vector, expected in zip(found["embeddings"], vectors, strict=True):
        assert vector == pytest.approx(expected, abs=1e-5)
    assert found["error"] == "ModelNotFoundException"
