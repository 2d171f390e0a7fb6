"""What a model and its source say of it, as a registry entry: for models of which nobody said
anything, and for the fields that were left empty.

| field | said by |
|---|---|
| what it is made of, its size | the header |
| family, organisation, name, license, description, homepage | the header, else the source |
| tags | the header and the source |
| capabilities | nobody: they are not evaluated |
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from runnerd.llms.entry import CAPABILITIES, NOT_EVALUATED, ConnectorType, LLMRegistryEntry
from runnerd.models.model import Model
from runnerd.models.reference import HUGGING_FACE, Reference
from runnerd.pulls.published import NOTHING, Published

SYSTEM_PROMPT = "system_prompt"

PROMPT_PARAMETERS = (
    "pre_prompt",
    "post_prompt",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "max_tokens",
    "seed",
    "stop",
)
"""What programs may set for a prompt where the entry does not say."""

_LICENSES = ("general.license.name", "general.license")
_HOMEPAGES = ("general.url", "general.repo_url", "general.source.url", "general.source.repo_url")
_ORGANIZATIONS = ("general.organization", "general.author", "general.base_model.0.organization")
_DESCRIPTIVE = (
    "family_id",
    "organization",
    "name",
    "license",
    "description",
    "homepage",
    "capabilities",
    "tags",
    "requirements",
)


_MOST_TAGS = 100


def entry_of(model: Model, published: Published = NOTHING) -> LLMRegistryEntry:
    """What the header of a model, its source and its names say."""
    said, config = model.description.metadata, model.config
    repository = _repository(model)
    homepage = _first(said, _HOMEPAGES) or published.homepage
    organization = _first(said, _ORGANIZATIONS) or published.organization
    if repository is not None:
        homepage = homepage or f"https://huggingface.co/{repository}"
        organization = organization or repository.partition("/")[0]
    named = said.get("general.name") or said.get("general.basename")
    name = named or published.name or shown_name(model)
    tags = [tag.strip() for tag in said.get("general.tags", "").split(",") if tag.strip()]
    settings = model.description.modelfile
    return LLMRegistryEntry(
        id=shown_name(model)[:200],
        family_id=said.get("general.basename") or published.family or config.architecture,
        organization=organization,
        name=name,
        license=_first(said, _LICENSES) or published.license,
        description=said.get("general.description")
        or published.description
        or f"{name}: {config.parameters} parameters, {config.quantization}, {config.size}",
        homepage=homepage,
        capabilities=dict.fromkeys(CAPABILITIES, NOT_EVALUATED),
        tags=list(dict.fromkeys([*tags, *published.tags]))[:_MOST_TAGS],
        requirements=f"{config.size} of memory for the weights",
        config={"model_architecture": config.architecture, "context_length": model.context_length},
        local=True,
        connector_type=ConnectorType.LLMRS,
        user_parameters=list(PROMPT_PARAMETERS),
        session_parameters={SYSTEM_PROMPT: settings.system} if settings.system else {},
        user_session_parameters=[SYSTEM_PROMPT],
    )


def filled(entry: LLMRegistryEntry, found: LLMRegistryEntry) -> LLMRegistryEntry:
    """An entry in which what nobody has said of the model is filled in from `found`."""
    lacking = {name: getattr(found, name) for name in _DESCRIPTIVE if not getattr(entry, name)}
    return msgspec.structs.replace(entry, **lacking)


def known_by(entry: LLMRegistryEntry, found: LLMRegistryEntry) -> LLMRegistryEntry:
    """What is found of a model, under the id and the address of an entry."""
    return msgspec.structs.replace(found, id=entry.id, url=entry.url)


def undescribed(entry: LLMRegistryEntry) -> LLMRegistryEntry:
    """An entry without what only describes the model, which is filled in again."""
    empty = {name: type(getattr(entry, name))() for name in _DESCRIPTIVE}
    return msgspec.structs.replace(entry, **empty)


def shown_name(model: Model) -> str:
    """What people type for a model: its name without what every name has by itself."""
    if not model.tags:
        return model.name
    return Reference.parse(model.tags[0]).familiar


def _repository(model: Model) -> str | None:
    """The repository of the hub that a model was pulled from, by its names."""
    for tag in model.tags:
        reference = Reference.parse(tag)
        if reference.registry == HUGGING_FACE:
            return reference.repository
    return None


def _first(said: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((said[name] for name in names if said.get(name)), "")
