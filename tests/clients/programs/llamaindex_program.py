"""LlamaIndex's models for Ollama and for servers like OpenAI's: ADDRESS; prints JSON."""

import json
import pathlib
import sys

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

ASKED = json.loads((pathlib.Path(__file__).parent / "questions.json").read_text())
ADDRESS = sys.argv[1]


class Place(BaseModel):
    city: str


def get_weather(city: str) -> str:
    return "sunny"


metadata = ToolMetadata(
    name="get_weather", description="Get the weather in a city.", fn_schema=Place
)
TOOL = FunctionTool(fn=get_weather, metadata=metadata)


def try_all(llm, nobody):
    parts = [part.delta or "" for part in llm.stream_chat([ChatMessage(ASKED["count"])])]
    answer = llm.chat_with_tools([TOOL], user_msg=ASKED["weather"])
    [call] = llm.get_tool_calls_from_response(answer)
    try:
        nobody.chat([ChatMessage("x")])
        error = None
    except Exception as caught:
        error = type(caught).__name__
    leaving = llm.stream_chat([ChatMessage("Count from 1 to 100.")])
    next(iter(leaving))
    leaving.close()
    return {
        "chat": llm.chat([ChatMessage(ASKED["name"])]).message.content,
        "whole": llm.chat([ChatMessage(ASKED["count"])]).message.content,
        "stream": {"text": "".join(parts), "pieces": len([part for part in parts if part])},
        "tools": [call.tool_name, call.tool_kwargs],
        "error": error,
    }


own = {"api_base": ADDRESS + "/v1", "api_key": "unused", "max_retries": 0}
found = {
    "ollama": try_all(
        Ollama(model="demo-a", base_url=ADDRESS, temperature=0, request_timeout=60),
        Ollama(model="nobody", base_url=ADDRESS),
    ),
    "openai": try_all(
        OpenAILike(model="demo-a", is_chat_model=True, is_function_calling_model=True, **own),
        OpenAILike(model="nobody", is_chat_model=True, **own),
    ),
}
embedding = OllamaEmbedding(model_name="demo-embed", base_url=ADDRESS)
found["ollama"]["embeddings"] = embedding.get_text_embedding_batch(["a cat", "a dog"])
print(json.dumps(found))
