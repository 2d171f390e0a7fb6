"""What can be downloaded, and what it is called then."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import pytest

from runnerd.errors import ClientError, InvalidReference, NotSupported
from runnerd.llms.downloads import check_downloadable, tag_of
from runnerd.llms.entry import ConnectorType, LLMRegistryEntry
from runnerd.models.reference import Reference

ENTRY = LLMRegistryEntry(
    id="Llama 7B/chat", url="https://x/y.gguf", connector_type=ConnectorType.LLMRS
)


def test_what_can_be_downloaded() -> None:
    """Addresses, and whatever else a pull takes; of models that are run here."""
    for url in ("https://x/y.gguf", "hf.co/a/b:Q4_K_M", "ai/smollm2"):
        check_downloadable(msgspec.structs.replace(ENTRY, url=url))
    for wrong, kind in (
        ({"url": ""}, ClientError),
        ({"url": "no name at all"}, InvalidReference),
        ({"connector_type": ConnectorType.OPENAI}, NotSupported),
        ({"connector_type": ConnectorType.GENERIC_API}, NotSupported),
    ):
        with pytest.raises(kind):
            check_downloadable(msgspec.structs.replace(ENTRY, **wrong))


@pytest.mark.parametrize("id", ["Llama 7B/chat", "x" * 200, "é", "..", "-", "a:b@c"])
def test_tags(id: str) -> None:
    """Each download has one of its own, whatever its id is; no other model's name is moved."""
    entry, uuid = msgspec.structs.replace(ENTRY, id=id), str(uuid4())
    tag = tag_of(entry, uuid)
    assert tag is not None
    assert str(Reference.parse(tag)) == tag
    assert tag.startswith("pantry/")
    assert tag.endswith(f":{uuid[:8]}")


def test_names_stay_names() -> None:
    """What is pulled by its name has that one."""
    entry = msgspec.structs.replace(ENTRY, url="ai/smollm2")
    assert tag_of(entry, str(uuid4())) is None
