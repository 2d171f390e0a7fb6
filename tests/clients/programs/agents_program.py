"""OpenAI's Agents SDK, through responses and through chats: ADDRESS; prints JSON."""

import asyncio
import json
import pathlib
import sys

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

ASKED = json.loads((pathlib.Path(__file__).parent / "questions.json").read_text())
CLIENT = AsyncOpenAI(base_url=sys.argv[1] + "/v1", api_key="unused", max_retries=0)
CALLED = []
set_tracing_disabled(True)


class Named(BaseModel):
    name: str


@function_tool(strict_mode=False)
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    CALLED.append(["get_weather", {"city": city}])
    return "sunny"


async def ask(model, question, **more):
    return (await Runner.run(Agent("one", model=model, **more), question)).final_output


async def stream(model):
    pieces = []
    run = Runner.run_streamed(Agent("one", model=model), ASKED["count"])
    async for event in run.stream_events():
        if getattr(event, "data", None) and event.data.type == "response.output_text.delta":
            pieces.append(event.data.delta)
    return {"text": "".join(pieces), "pieces": len(pieces)}


async def try_all(kind):
    model = kind("demo-a", CLIENT)
    CALLED.clear()
    tools = {"tools": [get_weather]}
    told = await ask(model, ASKED["weather"], **tools)
    forced = ModelSettings(tool_choice="get_weather")
    await ask(model, ASKED["weather"], model_settings=forced, **tools)
    answer = await Runner.run(Agent("one", model=model), ASKED["name"])
    usage = answer.context_wrapper.usage
    try:
        await ask(kind("nobody", CLIENT), "x")
        error = None
    except Exception as caught:
        error = type(caught).__name__
    return {
        "chat": answer.final_output,
        "usage": [usage.input_tokens, usage.output_tokens],
        "whole": await ask(model, ASKED["count"]),
        "stream": await stream(model),
        "tools": CALLED[0],
        "calls": len(CALLED),
        "told": told,
        "json": (await ask(model, ASKED["json"], output_type=Named)).model_dump(),
        "error": error,
    }


async def main():
    found = {
        "openai": await try_all(OpenAIChatCompletionsModel),
        "responses": await try_all(OpenAIResponsesModel),
    }
    print(json.dumps(found))


asyncio.run(main())
