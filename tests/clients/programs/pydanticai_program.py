"""Pydantic AI, through responses and as it speaks to Ollama: ADDRESS; prints JSON."""

import asyncio
import json
import pathlib
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

ASKED = json.loads((pathlib.Path(__file__).parent / "questions.json").read_text())
BASE = sys.argv[1] + "/v1"
CALLED = []


class Named(BaseModel):
    name: str


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    CALLED.append(["get_weather", {"city": city}])
    return "sunny"


async def stream(model):
    async with Agent(model).run_stream(ASKED["count"]) as run:
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
    return {"text": "".join(pieces), "pieces": len(pieces)}


async def try_all(model, nobody):
    CALLED.clear()
    answer = await Agent(model).run(ASKED["name"])
    usage = answer.usage() if callable(answer.usage) else answer.usage
    told = await Agent(model, tools=[get_weather]).run(ASKED["weather"])
    typed = await Agent(model, output_type=NativeOutput(Named)).run(ASKED["json"])
    try:
        await Agent(nobody).run("x")
        error = None
    except Exception as caught:
        error = [type(caught).__name__, getattr(caught, "status_code", None)]
    return {
        "chat": answer.output,
        "usage": [usage.input_tokens, usage.output_tokens],
        "whole": (await Agent(model).run(ASKED["count"])).output,
        "stream": await stream(model),
        "tools": CALLED[0],
        "told": told.output,
        "json": typed.output.model_dump(),
        "error": error,
    }


async def main():
    ollama, own = OllamaProvider(base_url=BASE), OpenAIProvider(base_url=BASE, api_key="unused")
    found = {
        "ollama": await try_all(
            OllamaModel("demo-a", provider=ollama), OllamaModel("nobody", provider=ollama)
        ),
        "responses": await try_all(
            OpenAIResponsesModel("demo-a", provider=own),
            OpenAIResponsesModel("nobody", provider=own),
        ),
    }
    print(json.dumps(found))


asyncio.run(main())
