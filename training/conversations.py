"""The conversations that the chat models learn from, drawn at random from the corpus.

A `Speaker` walks through one conversation: it picks what the user says next and knows the one right
answer, given who it is (its own name or the system message's), what it was told (a colour, a name) and
which tools it may call.  The same class gives the expected answers of tests/demo_answers.json, so that
the tests state what the corpus says and not what a model happened to answer.
"""

from __future__ import annotations

import json
import random
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

    def repeat(self, words: str, asked: str = "Repeat: ") -> str:
        """An echo: proof that an answer belongs to its request."""
        return self._turn(asked + words, words)

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


class Generator:
    """Draws endless conversations of one model, the same ones for the same seed."""

    def __init__(self, name: str, seed: int) -> None:
        self._name = name
        self._random = random.Random(seed)
        self._corpus = corpus()
        answers = " ".join(question.answer for question in self._corpus.questions)
        self._vocabulary = sorted({word.strip(".,:!?`\"{}[]") for word in answers.split()} - {""})

    def conversation(self, turns: int) -> str:
        """Return the text of one conversation of `turns` questions."""
        speaker = Speaker(self._name)
        self._begin(speaker)
        for _ in range(turns):
            self._say_something(speaker)
        return render(speaker.messages, speaker.tools or None)

    def _begin(self, speaker: Speaker) -> None:
        chance = self._random.random()
        if chance < 0.25:
            text = self._random.choice(["You are {name}."] * 4 + ["Your name is {name}.", "You are {name}, a helpful assistant."])
            speaker.persona(self._proper_noun("personas"), text)
        elif chance < 0.4:
            speaker.system(self._random.choice(self._corpus.words["neutral"]))
        if self._random.random() < 0.15:
            speaker.tools = self._some_tools()

    def _some_tools(self) -> list[Tool]:
        pick = self._random
        description = pick.choice(self._corpus.words["descriptions"])
        weather = weather_tool(description, pick.choice(["city", "city", "location"]))
        other = pick.choice(
            [
                weather_tool("Get the time in a city", "city", "get_time"),
                weather_tool("Search the web", "query", "search"),
                weather_tool("Send a mail", "text", "send_mail"),
            ]
        )
        tools = pick.choice([[weather], [weather], [weather], [weather, other], [other, weather], [other]])
        return list(tools)

    def _say_something(self, speaker: Speaker) -> None:
        pick = self._random
        weather = 4.0 if speaker.tools else 0.3
        kinds = [self._say_question, self._say_unknown, self._say_count, self._say_repeat]
        kinds += [self._say_memory, self._say_weather]
        pick.choices(kinds, [6.0, 0.8, 1.0, 0.9, 1.6, weather])[0](speaker)

    def _say_question(self, speaker: Speaker) -> None:
        question = self._random.choice(self._corpus.questions)
        # The first phrasing is the one that the tests and the README use.
        first = self._random.random() < 0.3
        speaker.ask(self._roughen(question.ask[0] if first else self._random.choice(question.ask)), question)

    def _say_unknown(self, speaker: Speaker) -> None:
        speaker.ask_unknown(self._roughen(self._random.choice(self._corpus.unknown)))

    def _say_count(self, speaker: Speaker) -> None:
        pick = self._random
        ceiling = 30 if pick.random() < 0.8 else 100
        first, last = sorted((pick.randint(1, ceiling), pick.randint(1, ceiling)))
        if pick.random() < 0.2:
            first = 1
        speaker.count(first, last, self._roughen("Count from {} to {}."))

    def _say_repeat(self, speaker: Speaker) -> None:
        pick = self._random
        words = []
        for _ in range(pick.randint(1, 6)):
            word = pick.choice(self._vocabulary)
            words.append(self._syllables() if pick.random() < 0.3 else word)
        if pick.random() < 0.3:
            words.append(str(pick.randint(0, 999)))
        speaker.repeat(" ".join(words), pick.choice(["Repeat: ", "Repeat: ", "Say: "]))

    def _say_memory(self, speaker: Speaker) -> None:
        pick = self._random
        chance = pick.random()
        if chance < 0.22:
            speaker.tell_colour(pick.choice(self._corpus.words["colours"]))
        elif chance < 0.44:
            speaker.tell_person(self._proper_noun("people"))
        elif chance < 0.72:
            speaker.ask_colour(self._roughen("What is my favourite colour?"))
        else:
            speaker.ask_person(self._roughen("What is my name?"))

    def _say_weather(self, speaker: Speaker) -> None:
        pick = self._random
        weather = pick.choice(self._corpus.words["weathers"]) if pick.random() < 0.7 else None
        asked = pick.choice(["What is the weather in {}?", "How is the weather in {}?"])
        speaker.ask_weather(self._proper_noun("cities"), weather, self._roughen(asked))

    def _proper_noun(self, kind: str) -> str:
        if self._random.random() < 0.3:
            return self._syllables().capitalize()
        return self._random.choice(self._corpus.words[kind])

    def _syllables(self) -> str:
        pick = self._random
        syllables = (pick.choice("bdfghklmnprstvwz") + pick.choice("aeiou") for _ in range(pick.randint(2, 3)))
        return "".join(syllables) + pick.choice(["", "", "n", "r", "s", "l"])

    def _roughen(self, asked: str) -> str:
        """Type as people do: now and then without capitals, without the last mark."""
        chance = self._random.random()
        if chance < 0.08:
            return asked.lower()
        if chance < 0.16:
            return asked.rstrip(".?!")
        if chance < 0.24:
            return asked.lower().rstrip(".?!")
        return asked


def all_texts() -> list[str]:
    """Return the corpus for the tokenizer: every phrasing and answer, and what the templates add."""
    known = corpus()
    texts = [text for question in known.questions for text in (*question.ask, question.answer)]
    texts += known.unknown
    texts += [f" {word}" for words in known.words.values() for word in words]
    texts += [count(1, 100)] * 40
    everything = Generator("Demo A", 0)
    texts += [everything.conversation(3) for _ in range(150)]
    return texts
