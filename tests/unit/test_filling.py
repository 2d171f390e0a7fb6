"""What models say of themselves, as registry entries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from runnerd.llms.entry import CAPABILITIES, ConnectorType, LLMRegistryEntry
from runnerd.llms.filling import entry_of, filled, known_by, shown_name, undescribed
from runnerd.models.model import Model
from runnerd.models.modelfile import Modelfile
from runnerd.pulls.published import Published
from tests.support.stores import add, opened, small

HEADER = {
    "general.name": "Tiny",
    "general.basename": "tiny",
    "general.organization": "Makers",
    "general.license": "apache-2.0",
    "general.description": "For tests.",
    "general.url": "https://example.org/tiny",
    "general.tags": "one, two",
}


@pytest.fixture
async def model(tmp_path: Path) -> Model:
    store = opened(tmp_path / "models")
    return store.get(str(await add(store, small(tmp_path / "a.gguf"), "ai/a")))


def with_header(model: Model, **said: str) -> Model:
    return replace(model, description=replace(model.description, metadata=said))


def test_a_header_that_says_everything(model: Model) -> None:
    """Each field is in the header's own words."""
    found = entry_of(with_header(model, **HEADER))
    assert (found.id, found.name, found.family_id) == ("a", "Tiny", "tiny")
    assert (found.organization, found.license) == ("Makers", "apache-2.0")
    assert (found.description, found.homepage) == ("For tests.", "https://example.org/tiny")
    assert found.tags == ["one", "two"]
    assert found.connector_type is ConnectorType.LLMRS


def test_a_header_that_says_nothing(model: Model) -> None:
    """What it is made of is known all the same, and nobody has evaluated it."""
    found = entry_of(with_header(model))
    assert (found.name, found.family_id) == ("a", model.config.architecture)
    assert model.config.quantization in found.description
    assert found.capabilities == dict.fromkeys(CAPABILITIES, -1)
    assert found.config["model_architecture"] == model.config.architecture
    assert found.user_session_parameters == ["system_prompt"]


def test_the_hub(model: Model) -> None:
    """A model that was pulled from there has its page and its organisation."""
    found = entry_of(replace(with_header(model), tags=("hf.co/makers/tiny-gguf:q4_k_m",)))
    assert found.homepage == "https://huggingface.co/makers/tiny-gguf"
    assert found.organization == "makers"
    assert found.id == "huggingface.co/makers/tiny-gguf:q4_k_m"


PUBLISHED = Published(
    name="Tiny of the hub",
    family="tiny-2",
    organization="Packers",
    license="mit",
    description="Packed.",
    homepage="https://example.org/packed",
    tags=("two", "three"),
)


def test_what_the_source_says(model: Model) -> None:
    """It fills what the header leaves out, before what is guessed from names; tags are of both."""
    named = replace(with_header(model), tags=("hf.co/makers/tiny-gguf:q4_k_m",))
    found = entry_of(named, PUBLISHED)
    assert (found.name, found.family_id) == ("Tiny of the hub", "tiny-2")
    assert (found.organization, found.license) == ("Packers", "mit")
    assert (found.description, found.homepage) == ("Packed.", "https://example.org/packed")
    assert found.tags == ["two", "three"]
    both = entry_of(with_header(model, **HEADER), PUBLISHED)
    plain = entry_of(with_header(model, **HEADER))
    assert both == msgspec.structs.replace(plain, tags=["one", "two", "three"])


def test_known_by_anothers_entry(model: Model) -> None:
    """Nothing of it but where it is from and what it is called."""
    found = entry_of(model)
    said = LLMRegistryEntry(
        id="x",
        url="https://x",
        connector_type=ConnectorType.LLMRS,
        capabilities={"general": 10},
        family_id="better",
        local=False,
        parameters={"pre_prompt": "Praise X."},
        session_parameters={"system_prompt": "Praise X."},
    )
    known = known_by(said, found)
    assert known == msgspec.structs.replace(found, id="x", url="https://x")


def test_a_system_prompt(model: Model) -> None:
    """That of a Modelfile is what sessions begin with."""
    settings = Modelfile(system="Be brief.")
    made = replace(model, description=replace(model.description, modelfile=settings))
    assert entry_of(made).session_parameters == {"system_prompt": "Be brief."}


def test_what_was_said_stays(model: Model) -> None:
    """Only what describes is filled in, and only where it is empty."""
    said = LLMRegistryEntry(id="x", license="MIT", connector_type=ConnectorType.LLMRS)
    found = filled(said, entry_of(with_header(model, **HEADER)))
    assert (found.id, found.license, found.name) == ("x", "MIT", "Tiny")
    assert found.parameters == {}
    assert found.user_parameters == []
    plain = entry_of(model)
    assert filled(undescribed(found), plain) == filled(
        msgspec.structs.replace(said, license=""), plain
    )


def test_names(model: Model) -> None:
    """As people type them."""
    assert shown_name(model) == "a"
    assert shown_name(replace(model, tags=())) == model.id.short
