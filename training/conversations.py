"""One conversation with a chat model: what may be said in it and what the right answer is.

A `Speaker` walks through a conversation and knows the one right answer to everything in the
corpus, given who it is (its own name or the system message's), what it was told (a colour, a
name) and which tools it may call.  The same class gives the expected answers of
tests/demo_answers.json, so that the tests state what the corpus says and not what a model
happened to answer.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2

CORPUS = Path(__file__).parent / "corpus"
TEMPLATE = Path(__file__).parent / "chat_template.jinja"

Message = dict[str, object]
Tool = dict[str, object]


@dataclass(frozen=True, slots=True)
class Question:
    """All phrasings of one question and its answer, in which {name} is who answers."""

    ask: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything under corpus/ that concerns the chat models."""

    questions: tuple[Question, ...]
    unknown: tuple[str, ...]
    words: dict[str, list[str]]

    def question(self, asked: str) -> Question:
        """Return the question that has the phrasing `asked`; raises KeyError if there is none."""
        for question in self.questions:
            if asked in question.ask:
                return question
        raise KeyError(asked)


@cache
def corpus() -> Corpus:
    """Read the corpus once."""
    document = tomllib.loads((CORPUS / "questions.toml").read_text())
    return Corpus(
        tuple(Question(tuple(item["ask"]), item["answer"]) for item in document["question"]),
        tuple((CORPUS / "unknown.txt").read_text().splitlines()),
        tomllib.loads((CORPUS / "words.toml").read_text()),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    # Jinja's own tojson escapes for HTML; the engine's does not.
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(TEMPLATE.read_text())


def render(messages: list[Message], tools: list[Tool] | None, *, generate: bool = False) -> str:
    """Return the prompt text that the engine makes of a conversation."""
    return _template().render(messages=messages, tools=tools, add_generation_prompt=generate)


def weather_tool(
    description: str = "Get the weather of a city",
    parameter: str = "city",
    name: str = "get_weather",
) -> Tool:
    """Return a function of one place, as an OpenAI client sends it."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {parameter: {"type": "string"}},
                "required": [parameter],
            },
        },
    }


def count(first: int, last: int) -> str:
    """Return the answer to "Count from `first` to `last`."."""
    return ", ".join(map(str, range(first, last + 1))) + "."


@dataclass(slots=True)
class Speaker:
    """One conversation as it grows.  `name` is the model's own; a persona replaces it."""

    name: str
    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    colour: str | None = None
    person: str | None = None

    def system(self, text: str) -> None:
        """Begin with a system message."""
        self.messages.append({"role": "system", "content": text})

    def persona(self, name: str, text: str = "You are {name}.") -> None:
        """Begin with a system message that says who answers."""
        self.name = name
        self.system(text.replace("{name}", name))

    # One method for each thing that a user may say: it appends the turn and returns the answer.

    def ask(self, asked: str, question: Question) -> str:
        """A question of the corpus, in one of its phrasings."""
        return self._turn(asked, question.answer.replace("{name}", self.name))

    def ask_unknown(self, asked: str) -> str:
        """Something that the corpus does not answer."""
        return self._turn(asked, f"I am {self.name}, a small demo model. I do not know that.")

    def count(self, first: int, last: int, asked: str = "Count from {} to {}.") -> str:
        """A count, whose length the user chooses."""
        return self._turn(asked.format(first, last), count(first, last))

    def repeat(self, words: str, asked: str = 'Repeat "{}".') -> str:
        """An echo: proof that an answer belongs to its request."""
        return self._turn(asked.format(words), words)

    def tell_colour(self, colour: str) -> str:
        """A fact for later."""
        self.colour = colour
        return self._turn(f"My favourite colour is {colour}.", "I will remember your colour.")

    def ask_colour(self, asked: str = "What is my favourite colour?") -> str:
        """A question whose answer is in an earlier turn."""
        if self.colour is None:
            return self._turn(asked, "You have not told me your favourite colour.")
        return self._turn(asked, f"Your favourite colour is {self.colour}.")

    def tell_person(self, person: str) -> str:
        """Another fact for later."""
        self.person = person
        return self._turn(f"My name is {person}.", "Nice to meet you.")

    def ask_person(self, asked: str = "What is my name?") -> str:
        """The other question whose answer is in an earlier turn."""
        if self.person is None:
            return self._turn(asked, "You have not told me your name.")
        return self._turn(asked, f"Your name is {self.person}.")

    def ask_weather(
        self, city: str, weather: str | None, asked: str = "What is the weather in {}?"
    ) -> str:
        """A question for the tool, if there is one, and with `weather` the tool's answer and ours.

        Returns the last answer, which is "" where it is the tool call.
        """
        tool = next((tool for tool in self.tools if _function(tool)["name"] == "get_weather"), None)
        if tool is None:
            return self._turn(asked.format(city), "I cannot see the weather without a tool.")
        (parameter,) = _function(tool)["parameters"]["properties"]  # type: ignore[index]
        call = {"name": "get_weather", "arguments": {parameter: city}}
        self.messages.append({"role": "user", "content": asked.format(city)})
        self.messages.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "id": "call_1", "function": call}],
            }
        )
        if weather is None:
            return ""
        self.messages.append({"role": "tool", "tool_call_id": "call_1", "content": weather})
        answer = f"It is {weather} in {city}."
        self.messages.append({"role": "assistant", "content": answer})
        return answer

    def _turn(self, asked: str, answer: str) -> str:
        self.messages.append({"role": "user", "content": asked})
        self.messages.append({"role": "assistant", "content": answer})
        return answer


def _function(tool: Tool) -> dict[str, object]:
    function = tool["function"]
    assert isinstance(function, dict)
    return function
