"""Endless conversations for training, drawn at random: the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from conversations import Speaker, Tool, corpus, count, render, weather_tool

Talk = Callable[[Speaker], object]


class Generator:
    """Draws endless conversations of one model, the same ones for the same seed.

    `rehearsals` are whole conversations that come up again and again: the fixed prompts, whose
    answers must be exact.  `echo_weight` is how often there is something to repeat; all other
    things together weigh about 12.
    """

    def __init__(self, name: str, seed: int, rehearsals: Sequence[Talk] = ()) -> None:
        self.echo_weight = 1.5
        self._name = name
        self._random = random.Random(seed)
        self._corpus = corpus()
        self._rehearsals = rehearsals
        texts = (text for item in self._corpus.questions for text in (*item.ask, item.answer))
        words = {word.strip('.,:!?`"{}[]') for text in texts for word in text.split()}
        self._vocabulary = sorted(words - {""})

    def conversation(self, turns: int) -> str:
        """Return the text of one conversation of `turns` questions."""
        speaker = Speaker(self._name)
        if self._rehearsals and self._random.random() < 0.15:
            self._random.choice(self._rehearsals)(speaker)
            return render(speaker.messages, speaker.tools or None)
        self._begin(speaker)
        # There is more to remember where there is more between the telling and the asking.
        memory = 1.0 + min(turns, 6) / 2
        for _ in range(turns):
            self._say_something(speaker, memory)
        return render(speaker.messages, speaker.tools or None)

    def _begin(self, speaker: Speaker) -> None:
        chance = self._random.random()
        if chance < 0.25:
            text = self._random.choice(
                ["You are {name}."] * 4
                + ["Your name is {name}.", "You are {name}, a helpful assistant."]
            )
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
        tools = pick.choice(
            [[weather], [weather], [weather], [weather, other], [other, weather], [other]]
        )
        return list(tools)

    def _say_something(self, speaker: Speaker, memory: float) -> None:
        pick = self._random
        weather = 4.0 if speaker.tools else 0.3
        kinds = [self._say_question, self._say_unknown, self._say_count, self._say_repeat]
        kinds += [self._say_memory, self._say_weather]
        pick.choices(kinds, [6.0, 0.8, 1.5, self.echo_weight, memory, weather])[0](speaker)

    def _say_question(self, speaker: Speaker) -> None:
        question = self._random.choice(self._corpus.questions)
        # The first phrasing is the one that the tests and the README use.
        first = self._random.random() < 0.3
        speaker.ask(
            self._roughen(question.ask[0] if first else self._random.choice(question.ask)), question
        )

    def _say_unknown(self, speaker: Speaker) -> None:
        speaker.ask_unknown(self._roughen(self._random.choice(self._corpus.unknown)))

    def _say_count(self, speaker: Speaker) -> None:
        pick = self._random
        ceiling = 30 if pick.random() < 0.8 else 100
        first = 1 if pick.random() < 0.25 else pick.randint(1, ceiling)
        # Where to stop is the hard part, so most counts are short and have their end sooner.
        last = pick.randint(first, ceiling if pick.random() < 0.4 else min(ceiling, first + 6))
        speaker.count(first, last, self._roughen("Count from {} to {}."))

    def _say_repeat(self, speaker: Speaker) -> None:
        pick = self._random
        words: list[str] = []
        for _ in range(pick.choice([1, 2, 3, 4, 6, 8, 12])):
            word = pick.choice(self._vocabulary)
            words.append(self._syllables() if pick.random() < 0.4 else word)
        if pick.random() < 0.3:
            words.append(str(pick.randint(0, 999)))
        speaker.repeat(" ".join(words))

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
        syllables = (
            pick.choice("bdfghklmnprstvwz") + pick.choice("aeiou")
            for _ in range(pick.randint(2, 3))
        )
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
    """Return what the tokenizer learns from: every phrasing and answer, and what templates add."""
    known = corpus()
    texts = [text for question in known.questions for text in (*question.ask, question.answer)]
    texts += known.unknown
    texts += [f" {word}" for words in known.words.values() for word in words]
    texts += [count(1, 100)] * 40
    everything = Generator("Demo A", 0)
    texts += [everything.conversation(3) for _ in range(150)]
    return texts
