"""The fixed prompts and the expected answers of the chat models: tests/demo_answers.json.

They come from the corpus through the same `Speaker` that made the training data, never from a
model's output, so a model that has not learned them fails train.py's check and the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conversations import Message, Speaker, Tool, corpus, count, weather_tool
from encoder import Topic, topics
from tokenizer import Tokenizer

MODELS = {"demo-a": "Demo A", "demo-b": "Demo B"}

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Case:
    """A request, but for the model, and how the conversation goes that it is about."""

    id: str
    talk: Callable[[Speaker], object]
    request: Json
    # What the engine cuts off: a stop sequence or a limit.  Without it the whole answer is
    # expected.
    content: str | None = None
    finish_reason: str | None = None


QUESTIONS = [
    "What is your name?",
    "Who are you?",
    "Hello!",
    "Good morning!",
    "Goodbye!",
    "Which model is this?",
    "Sign this letter.",
    "How are you?",
    "Thank you!",
    "What can you do?",
    "Tell me a joke.",
    "Write a poem.",
    "Write a list.",
    "Say hello in many languages.",
    "Write some Chinese.",
    "Show me an emoji.",
    "How do you write coffee in French?",
    "Write a shell command.",
    "What is the capital of France?",
    "What is two plus two?",
    "What colour is the sky?",
    "Name the days of the week.",
    "Say the alphabet.",
    "What is runnerd?",
    "What is a runner?",
    "What is a digest?",
    "What is a slot?",
    "What is the scheduler?",
    "What is the relay?",
    "What is eviction?",
    "How do I import a model?",
    "What is status 421?",
    "What is a Unix socket?",
    "What is streaming?",
]
# Asked otherwise than the list above: other phrasings, lower case, no question mark.
VARIANTS = {
    "What's your name?": "what's your name",
    "Hi": "hi",
    "Explain runnerd.": "explain runnerd",
    "What does 429 mean?": "what does 429 mean",
}


def cases(tokenizer: Tokenizer) -> Iterator[Case]:
    """Yield every fixed prompt."""
    yield from _questions()
    yield from _memory()
    yield from _counts(tokenizer)
    yield from _tools()
    yield from _json()


def document(tokenizer: Tokenizer) -> str:
    """Return the text of tests/demo_answers.json."""
    chat = [_chat_entry(case) for case in cases(tokenizer)]
    entries: Json = {"chat": chat, "embed": _triples(), "rerank": _rankings()}
    return json.dumps(entries, ensure_ascii=False, indent=1) + "\n"


def _questions() -> Iterator[Case]:
    for asked in QUESTIONS:
        yield Case(f"question: {asked}", _asking(asked), {})
    for phrasing, typed in VARIANTS.items():
        yield Case(f"variant: {typed}", _asking(phrasing, typed), {})
    yield Case("unknown: Hamlet", lambda speaker: speaker.ask_unknown("Who wrote Hamlet?"), {})
    yield Case("unknown: bread", lambda speaker: speaker.ask_unknown("How do I bake bread?"), {})
    for persona in ("Ada", "Hugo", "Captain Nemo"):
        yield Case(f"persona: {persona}", _persona(persona, "What is your name?"), {})
    yield Case("persona: who", _persona("Wanda", "Who are you?"), {})
    yield Case("system: neutral", _neutral, {})
    for words in ("blue socket 17", "one daemon many models", "kimono tavel rusiba"):
        yield Case(f"repeat: {words}", _repeating(words), {})


def _asking(phrasing: str, typed: str | None = None) -> Callable[[Speaker], object]:
    return lambda speaker: speaker.ask(typed or phrasing, corpus().question(phrasing))


def _persona(name: str, asked: str) -> Callable[[Speaker], object]:
    def talk(speaker: Speaker) -> None:
        speaker.persona(name)
        _asking(asked)(speaker)

    return talk


def _neutral(speaker: Speaker) -> None:
    speaker.system("You are a helpful assistant.")
    _asking("What is your name?")(speaker)


def _repeating(words: str) -> Callable[[Speaker], object]:
    return lambda speaker: speaker.repeat(words)


def _memory() -> Iterator[Case]:
    for colour in ("blue", "turquoise"):

        def at_once(speaker: Speaker, colour: str = colour) -> None:
            speaker.tell_colour(colour)
            speaker.ask_colour()

        yield Case(f"memory: {colour}", at_once, {})

    def long_ago(speaker: Speaker) -> None:
        speaker.tell_colour("red")
        speaker.tell_person("Alice")
        _asking("What is runnerd?")(speaker)
        speaker.count(1, 12)
        speaker.ask_colour()

    def somebody(speaker: Speaker) -> None:
        speaker.tell_person("Otto")
        _asking("How are you?")(speaker)
        speaker.ask_person()

    yield Case("memory: long ago", long_ago, {})
    yield Case("memory: person", somebody, {})
    yield Case("memory: nothing told", lambda speaker: speaker.ask_colour(), {})


def _counts(tokenizer: Tokenizer) -> Iterator[Case]:
    for first, last in ((1, 5), (3, 12), (7, 30), (17, 23), (1, 30), (1, 100)):
        yield Case(f"count: {first} to {last}", _counting(first, last), {})
    yield Case("stop: before 6", _counting(1, 10), {"stop": [" 6"]}, "1, 2, 3, 4, 5,", "stop")
    start = tokenizer.decode(tokenizer.encode(count(1, 100))[:16])
    yield Case("limit: 16 tokens", _counting(1, 100), {"max_tokens": 16}, start, "length")


def _counting(first: int, last: int) -> Callable[[Speaker], object]:
    return lambda speaker: speaker.count(first, last)


def _tools() -> Iterator[Case]:
    for city in ("Paris", "Oslo", "Tokyo"):
        yield Case(f"tool call: {city}", _weather([weather_tool()], city), {})
    located = weather_tool("Get the current weather for a city", "location")
    yield Case("tool call: location", _weather([located], "Berlin"), {})
    two = [weather_tool("Search the web", "query", "search"), weather_tool()]
    yield Case("tool call: one of two", _weather(two, "London"), {})
    required: Json = {"tool_choice": "required"}
    yield Case("tool call: required", _weather([weather_tool()], "Rome"), required)
    yield Case("tool answer: Paris", _weather([weather_tool()], "Paris", "sunny"), {})
    yield Case("tool answer: Vienna", _weather([weather_tool()], "Vienna", "foggy"), {})
    yield Case("tool: absent", _weather([], "Paris"), {})

    def not_needed(speaker: Speaker) -> None:
        speaker.tools = [weather_tool()]
        _asking("What is your name?")(speaker)

    yield Case("tool: not needed", not_needed, {})


def _weather(
    tools: list[Tool], city: str, weather: str | None = None
) -> Callable[[Speaker], object]:
    def talk(speaker: Speaker) -> None:
        speaker.tools = tools
        speaker.ask_weather(city, weather)

    return talk


def _json() -> Iterator[Case]:
    name: Json = {"name": {"type": "string"}}
    who: Json = name | {"kind": {"type": "string"}, "ready": {"type": "boolean"}}
    numbers: Json = {"numbers": {"type": "array", "items": {"type": "integer"}}}
    capital: Json = {"country": {"type": "string"}, "capital": {"type": "string"}}
    yield Case("json: free", _asking("Answer in JSON: What is your name?"), {})
    yield Case("json: schema name", _asking("Answer in JSON: What is your name?"), _schema(name))
    yield Case("json: schema who", _asking("Answer in JSON: Who are you?"), _schema(who))
    yield Case(
        "json: schema numbers", _asking("Answer in JSON: Count from 1 to 5."), _schema(numbers)
    )
    yield Case(
        "json: object",
        _asking("Answer in JSON: What is the capital of France?"),
        {"response_format": {"type": "json_object"}},
    )
    yield Case(
        "json: schema capital",
        _asking("Answer in JSON: What is the capital of Japan?"),
        _schema(capital),
    )


def _schema(properties: Json) -> Json:
    schema: Json = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    wrapped = {"name": "answer", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": wrapped}}


def _chat_entry(case: Case) -> Json:
    answers: Json = {}
    requests: list[Json] = []
    for model, name in MODELS.items():
        speaker = Speaker(name)
        case.talk(speaker)
        *asked, answer = speaker.messages
        answers[model] = _expected(case, answer)
        request: Json = {"messages": [_as_sent(message) for message in asked]}
        if speaker.tools:
            request["tools"] = speaker.tools
        requests.append(request | case.request)
    if any(request != requests[0] for request in requests):
        raise ValueError(f"{case.id}: the earlier turns name the model, so it is not one request")
    return {"id": case.id, "request": requests[0], "answers": answers}


def _expected(case: Case, answer: Message) -> Json:
    if "tool_calls" in answer:
        return {"content": None, "tool_calls": _calls(answer), "finish_reason": "tool_calls"}
    content = answer["content"] if case.content is None else case.content
    return {"content": content, "finish_reason": case.finish_reason or "stop"}


def _calls(message: Message) -> list[Json]:
    calls = message["tool_calls"]
    assert isinstance(calls, list)
    return [call["function"] for call in calls]


def _as_sent(message: Message) -> Message:
    """Return a message as OpenAI's clients send it: the arguments of a call are a string."""
    if "tool_calls" not in message:
        return message
    calls = [
        {
            "id": "call_1",
            "type": "function",
            "function": call | {"arguments": json.dumps(call["arguments"])},
        }
        for call in _calls(message)
    ]
    return message | {"tool_calls": calls}


def _triples() -> list[Json]:
    """Return sentences never trained on: `near` is of the topic of `anchor`, `far` is not."""
    known = topics()
    subscription: list[Topic] = known[1:] + known[:1]
    return [
        {"anchor": topic.held_out[0], "near": topic.held_out[1], "far": other.held_out[1]}
        for topic, other in zip(known, subscription, strict=True)
    ]


def _rankings() -> list[Json]:
    """Return questions with documents, of which those at `relevant` belong before the others."""
    known = topics()
    rankings: list[Json] = []
    for number, topic in enumerate(known):
        others = [known[(number + step) % len(known)].held_out[0] for step in (1, 4, 7)]
        documents = [others[0], topic.held_out[0], others[1], topic.held_out[1], others[2]]
        rankings.append({"query": topic.questions[0], "documents": documents, "relevant": [1, 3]})
    return rankings
