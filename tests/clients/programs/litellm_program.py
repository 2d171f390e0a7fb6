"""LiteLLM's library, through both of its providers: ADDRESS; prints what it got as JSON."""

import json
import pathlib
import sys

import litellm

ASKED = json.loads((pathlib.Path(__file__).parent / "questions.json").read_text())
ADDRESS = sys.argv[1]
PROVIDERS = {
    "openai": {"model": "openai/demo-a", "api_base": ADDRESS + "/v1", "api_key": "unused"},
    "ollama": {"model": "ollama_chat/demo-a", "api_base": ADDRESS},
}
litellm.suppress_debug_info = True


def user(text):
    return [{"role": "user", "content": text}]


def stream(**provider):
    parts = litellm.completion(messages=user(ASKED["count"]), stream=True, **provider)
    texts = [part.choices[0].delta.content or "" for part in parts]
    return {"text": "".join(texts), "pieces": len([text for text in texts if text])}


def tools(**provider):
    answer = litellm.completion(messages=user(ASKED["weather"]), tools=[ASKED["tool"]], **provider)
    [call] = answer.choices[0].message.tool_calls
    return [call.function.name, json.loads(call.function.arguments)]


def error(**provider):
    provider["model"] = provider["model"].replace("demo-a", "nobody")
    try:
        litellm.completion(messages=user("x"), **provider)
    except Exception as caught:
        return type(caught).__name__


def text(question, **more):
    return litellm.completion(messages=user(question), **more).choices[0].message.content


found = {}
for name, provider in PROVIDERS.items():
    found[name] = {
        "chat": text(ASKED["name"], **provider),
        "whole": text(ASKED["count"], **provider),
        "stream": stream(**provider),
        "tools": tools(**provider),
        "json": text(ASKED["json"], response_format={"type": "json_object"}, **provider),
        "error": error(**provider),
    }
provider = {"api_base": ADDRESS + "/v1", "api_key": "unused"}
answer = litellm.embedding(model="openai/demo-embed", input=["a cat", "a dog"], **provider)
found["openai"]["embeddings"] = [entry["embedding"] for entry in answer.data]
answer = litellm.embedding(model="ollama/demo-embed", input=["a cat", "a dog"], api_base=ADDRESS)
found["ollama"]["embeddings"] = [entry["embedding"] for entry in answer.data]
parts = litellm.completion(
    messages=user("Count from 1 to 100."), stream=True, **PROVIDERS["openai"]
)
next(iter(parts))
parts.completion_stream.close()
print(json.dumps(found))
