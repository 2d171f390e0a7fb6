"""The published protollm_sdk 1.2.0 in front of an API: HOST PORT EMBEDDING_MODEL."""

import json
import sys
import uuid

import old_aioredis  # noqa: F401
from protollm_sdk.jobs.llm_api import LLMAPI
from protollm_sdk.jobs.text_embedder import TextEmbedder
from protollm_sdk.models.job_context_models import (
    ChatCompletionModel,
    PromptMeta,
    PromptModel,
    TextEmbedderRequest,
)

host, port = sys.argv[1:]
meta = PromptMeta(temperature=0, tokens_limit=32)
question = "What is your name?"
api = LLMAPI(host, port)


def failure(call):
    """The words of what a call raises."""
    try:
        return call().content
    except Exception as error:
        return f"raised: {error}"


found = {
    "generate": api.inference(
        PromptModel(job_id=str(uuid.uuid4()), meta=meta, content=question)
    ).content,
    "chat": api.chat_completion(
        ChatCompletionModel(
            job_id=str(uuid.uuid4()),
            priority=3,
            meta=meta,
            messages=[{"role": "user", "content": question}],
        )
    ).content,
    "queue": api.inference(
        PromptModel(job_id=str(uuid.uuid4()), meta=meta, content=question), "demo-b"
    ).content,
    "no queue": failure(
        lambda: api.inference(
            PromptModel(job_id=str(uuid.uuid4()), meta=meta, content=question), "no-such-model"
        )
    ),
    "embed": TextEmbedder(host, port)
    .inference(TextEmbedderRequest(job_id="e", inputs="a cat", truncate=True))
    .embeddings,
}
print(json.dumps(found))
