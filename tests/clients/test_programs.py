"""Programs that people use with Ollama's, OpenAI's and Anthropic's APIs, against the daemon.

Each program in `programs/` runs once, in an environment that has its library (`make test-clients`
makes it), and prints what it got; the tests here hold that against what the demo models answer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.clients]

_ROOT = Path(__file__).parents[2]
_ENVIRONMENT = _ROOT / ".venv-clients"
_PROGRAMS = Path(__file__).with_name("programs")
_OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGCHAIN_TRACING_V2": "false",
    "DO_NOT_TRACK": "1",
    "AI_SDK_LOG_WARNINGS": "false",
}
_SECONDS = 120

# What shows itself how in which program: (program, dialect, what, expected).
BOTH = ("ollama", "openai")
FOUR = (*BOTH, "responses", "anthropic")
CHATS = [
    ("litellm_program.py", BOTH),
    ("langchain_program.py", FOUR),
    ("llamaindex_program.py", BOTH),
    ("llm_program.py", BOTH),
    ("openai_program.mjs", ("openai",)),
    ("ollama_program.mjs", ("ollama",)),
    ("aisdk_program.mjs", FOUR),
    ("n8n_program.mjs", ("ollama", "openai", "responses")),
    ("agents_program.py", ("openai", "responses")),
    ("pydanticai_program.py", ("ollama", "responses")),
]
CASES = [pytest.param(p, d, id=f"{p.partition('_')[0]}-{d}") for p, ds in CHATS for d in ds]
WITH_TOOLS = [case for case in CASES if "llm_" not in str(case.values[0])]
ERRORS = {
    ("litellm_program.py", "openai"): "NotFoundError",
    ("litellm_program.py", "ollama"): "APIConnectionError",  # of every error of Ollama's
    ("langchain_program.py", "openai"): "OpenAIModelNotFoundError",
    ("langchain_program.py", "ollama"): "ResponseError",
    ("langchain_program.py", "responses"): "OpenAIModelNotFoundError",
    ("langchain_program.py", "anthropic"): "AnthropicModelNotFoundError",
    ("llamaindex_program.py", "openai"): "NotFoundError",
    ("llamaindex_program.py", "ollama"): "ResponseError",
    ("openai_program.mjs", "openai"): "NotFoundError",
    ("ollama_program.mjs", "ollama"): 404,
    **{("aisdk_program.mjs", dialect): 404 for dialect in FOUR},
    **{("n8n_program.mjs", dialect): 404 for dialect in ("ollama", "openai", "responses")},
    ("agents_program.py", "openai"): "NotFoundError",
    ("agents_program.py", "responses"): "NotFoundError",
    ("pydanticai_program.py", "ollama"): ["ModelHTTPError", 404],
    ("pydanticai_program.py", "responses"): ["ModelHTTPError", 404],
}


class Programs:
    """Runs each program once."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self._found: dict[str, Any] = {}

    def result(self, name: str, dialect: str) -> Any:
        """Return what a program got through one of its dialects."""
        if name not in self._found:
            self._found[name] = self._run(name)
        return self._found[name][dialect]

    def _run(self, name: str) -> Any:
        if name.endswith(".mjs"):  # Node looks for libraries beside the program
            copy = shutil.copy(_PROGRAMS / name, _ENVIRONMENT / "node" / name)
            command = ["node", str(copy)]
        else:
            command = [str(_ENVIRONMENT / "bin" / "python"), str(_PROGRAMS / name)]
        environment = os.environ | _OFFLINE | {"QUESTIONS": str(_PROGRAMS / "questions.json")}
        process = subprocess.run(
            [*command, self.daemon.address],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-3000:]
        return json.loads(process.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """A daemon with demo models, and what runs programs against it."""
    assert _ENVIRONMENT.is_dir(), "their libraries are not installed: run `make test-clients`"
    with running(tmp_path_factory.mktemp("clients")) as daemon:
        for name in ("demo-a", "demo-embed"):
            daemon.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        yield Programs(daemon)


@pytest.mark.parametrize(("program", "dialect"), CASES)
def test_chat(programs: Programs, program: str, dialect: str) -> None:
    """The model's own answer."""
    found = programs.result(program, dialect)
    assert found["chat"] == "My name is Demo A."
    assert found.get("streamed", found["chat"]) == found["chat"]
    assert found.get("usage", [13, 7]) == [13, 7]
    assert found.get("response", found["chat"]) == found["chat"]
    assert found.get("again", found["chat"]) == found["chat"]  # in a conversation that goes on


@pytest.mark.parametrize(("program", "dialect"), WITH_TOOLS)
def test_stream(programs: Programs, program: str, dialect: str) -> None:
    """In many pieces, and the same text as whole."""
    found = programs.result(program, dialect)
    assert found["stream"]["text"] == found["whole"]
    assert found["whole"].startswith("1, 2, 3")
    assert found["stream"]["pieces"] > 20


@pytest.mark.parametrize(("program", "dialect"), WITH_TOOLS)
def test_tools(programs: Programs, program: str, dialect: str) -> None:
    """A call with its arguments, and what the program makes of its result by itself."""
    found = programs.result(program, dialect)
    assert found["tools"] == ["get_weather", {"city": "Paris"}]
    assert found.get("told", "It is sunny in Paris.") == "It is sunny in Paris."


@pytest.mark.parametrize(("program", "dialect"), WITH_TOOLS)
def test_structured_output(programs: Programs, program: str, dialect: str) -> None:
    """JSON, after a schema where the program takes one."""
    found = programs.result(program, dialect)
    if "json" in found:  # LlamaIndex makes tools of schemas
        response = found["json"]
        assert (json.loads(response) if isinstance(response, str) else response) == {
            "name": "Demo A"
        }


@pytest.mark.parametrize(("program", "dialect"), CASES)
def test_embeddings(programs: Programs, program: str, dialect: str) -> None:
    """The same vectors through every program that makes any."""
    found = programs.result(program, dialect)
    if "embeddings" not in found:
        return
    expected = programs.daemon.http.post(
        "/v1/embeddings", json={"model": "demo-embed", "input": ["a cat", "a dog"]}
    ).json()["data"]
    for vector, entry in zip(found["embeddings"], expected, strict=False):
        assert vector == pytest.approx(entry["embedding"], abs=1e-5)


@pytest.mark.parametrize(("program", "dialect"), WITH_TOOLS)
def test_errors(programs: Programs, program: str, dialect: str) -> None:
    """A model that is not there is what the library calls so."""
    assert programs.result(program, dialect)["error"] == ERRORS[program, dialect]


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic"])
def test_what_is_too_long_has_its_class(programs: Programs, dialect: str) -> None:
    """LangChain knows it by words and code, and can shorten it."""
    found = programs.result("langchain_program.py", dialect)
    assert found["overflow"] == "ContextOverflowError"


def test_llm_tells_of_models(programs: Programs) -> None:
    """Its plugin lists what is there; what is not there is said in words."""
    found = programs.result("llm_program.py", "ollama")
    assert "Ollama: demo-a:latest" in found["models"]
    code, words = found["error"]
    assert code != 0
    assert "not found" in words


def test_what_n8n_lists(programs: Programs) -> None:
    """Its credentials are tested, and models listed, before anything is asked."""
    found = programs.result("n8n_program.mjs", "lists")
    assert found["root"] == 200
    assert found["tags"] == ["demo-a:latest", "demo-embed:latest"]
    assert found["models"] == ["ai/demo-a:latest", "ai/demo-embed:latest"]


@pytest.mark.parametrize(("program", "dialect"), CASES)
def test_leaving_stops_the_engine(programs: Programs, program: str, dialect: str) -> None:
    """Each program leaves a long stream early; nothing goes on afterwards."""
    programs.result(program, dialect)
    wait_for(
        lambda: not any(runner["in_use"] for runner in programs.daemon.ps()),
        "the engines to be idle",
    )
