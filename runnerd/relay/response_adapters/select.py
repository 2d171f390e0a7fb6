"""What the engine's responses lack of OpenAI's: which translation makes them so, if any."""

from __future__ import annotations

from runnerd.backends.configuration import BackendMode
from runnerd.relay.body import ABSENT, ALONE, Inference
from runnerd.relay.dialect import Translation
from runnerd.relay.operations import Operation
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_adapters.dimensions import ShortenedEmbeddings, dimensions
from runnerd.relay.response_adapters.echo import echo_wanted
from runnerd.relay.response_adapters.event_changes import Change, ChangedResponse, ChangedStream
from runnerd.relay.response_adapters.logprobs import half_characters_wanted, lists_wanted
from runnerd.relay.response_adapters.null_events import WithoutNullEvents
from runnerd.relay.response_adapters.ranked_texts import texts_wanted
from runnerd.relay.translations import PASSED, Assembled


def translation_of(
    operation: Operation, inference: Inference, prompts: int, *, assembles: bool
) -> Translation:
    """The translation that completes a response, or lets it pass as it comes.

    `assembles` says that the engine streams a response that the client wants whole.
    """
    streams = inference.stream is True and operation.assembles
    if operation.assembles and (streams or assembles):
        change: Change | None = half_characters_wanted(inference)
        if operation.name == "completions":
            change = echo_wanted(inference) or lists_wanted(inference) or change
        if change is not None and streams:
            return ChangedStream(change)
        if change is not None:
            return ChangedResponse(change, Assembly(prompts, inference.model))
    if streams:
        return WithoutNullEvents() if prompts > 1 or inference.n not in ALONE else PASSED
    if operation.mode is BackendMode.RERANKING:
        return texts_wanted(inference.return_documents, inference.documents) or PASSED
    if inference.dimensions not in ABSENT and operation.mode is BackendMode.EMBEDDING:
        return ShortenedEmbeddings(dimensions(inference.dimensions))
    return Assembled(prompts, inference.model) if assembles else PASSED
