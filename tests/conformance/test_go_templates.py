"""Go templates on the real engine: the prompts are those that Ollama would make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from runnerd.models.gotemplates.rendering import render
from tests.support.clients import ollama_client
from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"

EXCHANGE = """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""

MESSAGES = """{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}"""

INDEX = """
{{- $lastUser := -1 }}{{ $seen := "" -}}
{{- range $i, $m := .Messages }}{{ if eq $m.Role "user" }}{{ $lastUser = $i }}{{ end }}{{ end -}}
{{- if .System }}<s>{{ .System }}</s>{{ else }}<none>{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
[{{ $i }} {{ .Role }}{{ if and (ge $i $lastUser) (not $last) }} late{{ end }}
{{- if gt (len .Content) 5 }} long{{ end }}] {{ .Content }}
{{- if and $.IsThinkSet (eq $i $lastUser) }}{{ if $.Think }} /think{{ else }} /no_think{{ end }}
{{- end }}
{{- if or (eq .Role "assistant" "tool") (ne (index $.Messages 0).Role "system") }}!{{ end }}
{{- $seen = .Role }}
{{- end }}
{{ $seen }}"""

TURNS = [
    {"role": "system", "content": 'Be kind. It\'s \\ "fine".'},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello {{ .System }} {% x %}"},
    {"role": "user", "content": "Bye"},
]
PROMPT = (
    '<|im_start|>system\nBe kind. It\'s \\ "fine".<|im_end|>\n'
    "<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello {{ .System }} {% x %}<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n"
    "<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model for each template, and one whose weights have none."""
    root = tmp_path_factory.mktemp("templates")
    with running(root) as daemon:
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        tiny.write_completion_model(root / "bare.gguf", chat_template=None)
        daemon.import_model(root / "bare.gguf", "bare")
        with ollama_client(daemon) as client:
            client.create("exchange", from_="demo-a", template=EXCHANGE)
            client.create("messages", from_="demo-a", template=MESSAGES)
            client.create("index", from_="demo-a", template=INDEX)
        yield daemon


def prompt(daemon: DaemonProcess, model: str, messages: list[Any], **more: Any) -> str:
    """Return what the engine makes of messages."""
    response = daemon.http.post(
        "/v1/apply-template", json={"model": model, "messages": messages, **more}
    )
    assert response.status_code == 200, response.text
    return str(response.json()["prompt"])


@pytest.mark.parametrize("model", ["exchange", "messages"])
def test_the_prompt_is_the_one_that_was_meant(daemon: DaemonProcess, model: str) -> None:
    """System, several turns, and the unfinished last one, whatever the texts hold."""
    assert prompt(daemon, model, TURNS) == PROMPT
    assert prompt(daemon, model, TURNS[1:2]) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.covers(
    "POST /api/create",
    "template",
    note="Jinja; Go as far as Jinja can",
)
def test_models_answer_through_their_template(daemon: DaemonProcess) -> None:
    """The demo model knows this form, so it answers as ever; `show` has the text as it was."""
    with ollama_client(daemon) as client:
        for name, template in (("exchange", EXCHANGE), ("messages", MESSAGES)):
            asked = [{"role": "user", "content": "What is your name?"}]
            response = client.chat(name, asked, options={"temperature": 0})
            assert response.message.content == "My name is Demo A."
            assert client.show(name).template == template


@pytest.mark.parametrize("turns", [TURNS, TURNS[1:], TURNS[1:2], TURNS[:2]])
@pytest.mark.parametrize("think", [True, False])
def test_translated_and_carried_out_are_the_same(
    daemon: DaemonProcess, turns: list[dict[str, str]], think: bool
) -> None:
    """What the engine makes of the translation is what the template itself makes."""
    values = {
        "System": "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system"),
        "Messages": [
            {"Role": turn["role"], "Content": turn["content"], "Thinking": ""} for turn in turns
        ],
        **{"Tools": None, "Response": "", "Think": think, "IsThinkSet": True},
    }
    made = prompt(daemon, "index", turns, chat_template_kwargs={"enable_thinking": think})
    assert made == render(INDEX, values)


def test_tools_and_their_calls_are_written(daemon: DaemonProcess) -> None:
    """A tool as JSON, a call with its arguments, a result."""
    function = {
        "name": "get_weather",
        "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]
    text = prompt(daemon, "messages", messages, tools=[{"type": "function", "function": function}])
    assert '"name": "get_weather", "arguments": {"city": "Paris"}}' in text
    assert text.count("<tools>") == 1
    assert '"city": {"type": "string"}' in text.replace('":{', '": {').replace('":"', '": "')
    assert text.endswith(
        "<tool_response>\nsunny\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_jinja_template_is_taken_as_it_is(daemon: DaemonProcess) -> None:
    """Both languages are understood."""
    jinja = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
    with ollama_client(daemon) as client:
        client.create("jinja", from_="bare", template=jinja)
        assert client.show("jinja").template == jinja
    assert prompt(daemon, "jinja", TURNS[1:2]) == "[user]Hi"


def test_what_cannot_be_translated_is_refused(daemon: DaemonProcess) -> None:
    """The error says which part, and nothing is made."""
    body = {"model": "no", "from": "demo-a", "stream": False, "template": "{{ .Prompt }}{{ .Foo }}"}
    response = httpx.post(f"{daemon.address}/api/create", json=body, verify=NO_TLS)
    assert response.status_code == 400
    assert ".Foo" in response.json()["error"]
    assert (
        httpx.post(f"{daemon.address}/api/show", json={"model": "no"}, verify=NO_TLS).status_code
        == 404
    )
