"""LangChain's chat models and embeddings for three APIs: ADDRESS; prints JSON."""

import json
import pathlib
import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.exceptions import ContextOverflowError
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

ASKED = json.loads((pathlib.Path(__file__).parent / "questions.json").read_text())
ADDRESS = sys.argv[1]


def try_all(chat, nobody, embeddings=None):
    parts = [part.text for part in chat.stream(ASKED["count"])]
    [call] = chat.bind_tools([ASKED["tool"]]).invoke(ASKED["weather"]).tool_calls
    structured = chat.with_structured_output(ASKED["schema"], method="json_schema")
    try:
        nobody.invoke("x")
        error = None
    except Exception as caught:
        error = type(caught).__name__
    leaving = chat.stream("Count from 1 to 100.")
    next(leaving)
    leaving.close()
    answer = chat.invoke(ASKED["name"])
    try:
        chat.invoke("word " * 3000)
        overflow = None
    except ContextOverflowError:
        overflow = "ContextOverflowError"
    except Exception as caught:
        overflow = type(caught).__name__
    return {
        "chat": answer.text,
        "usage": [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]],
        "whole": chat.invoke(ASKED["count"]).text,
        "stream": {"text": "".join(parts), "pieces": len([part for part in parts if part])},
        "tools": [call["name"], call["args"]],
        "json": structured.invoke(ASKED["json"]),
        "error": error,
        "overflow": overflow,
        **({"embeddings": embeddings.embed_documents(["a cat", "a dog"])} if embeddings else {}),
    }


plain = {"base_url": ADDRESS, "api_key": "unused", "max_retries": 0, "max_tokens": 200}
own = {"base_url": ADDRESS + "/v1", "api_key": "unused", "max_retries": 0}
print(
    json.dumps(
        {
            "ollama": try_all(
                ChatOllama(model="demo-a", base_url=ADDRESS, temperature=0),
                ChatOllama(model="nobody", base_url=ADDRESS),
                OllamaEmbeddings(model="demo-embed", base_url=ADDRESS),
            ),
            "anthropic": try_all(
                ChatAnthropic(model="demo-a", **plain), ChatAnthropic(model="nobody", **plain)
            ),
            "responses": try_all(
                ChatOpenAI(model="demo-a", use_responses_api=True, **own),
                ChatOpenAI(model="nobody", use_responses_api=True, **own),
            ),
            "openai": try_all(
                ChatOpenAI(model="demo-a", stream_usage=True, **own),
                ChatOpenAI(model="nobody", **own),
                OpenAIEmbeddings(model="demo-embed", check_embedding_ctx_length=False, **own),
            ),
        }
    )
)
