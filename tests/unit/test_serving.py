"""runnerd.backends.llamacpp.serving: a model's flags, and what a draft model takes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.footprint import Workload
from runnerd.backends.llamacpp.serving import Serving, draft_serving, model_serving
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.model_files import ModelFacts, ModelFiles

FILES = ModelFiles(Path("w"), 0, facts=ModelFacts(context_length=4096))


def served(
    *flags: str, placing: tuple[str, ...] = (), mode: BackendMode = BackendMode.COMPLETION
) -> tuple[Serving, Serving]:
    """Return how a model and its draft model are served."""
    configuration = BackendConfiguration.model_validate({"runtime-flags": list(flags)})
    model = model_serving(FILES, configuration, mode, parse_settings({}), placing)
    return model, draft_serving(model, configuration)


def test_a_draft_model_has_the_models_context_and_slots() -> None:
    """Whatever its own file says of it; each slot has a context of its own."""
    model, draft = served("-np", "2", "--ubatch-size", "256")
    assert draft.load == model.load == Workload(context=2 * 4096, slots=2, batch=256)
    assert draft.flags == ("--ubatch-size", "256")


@pytest.mark.parametrize(
    ("flags", "model", "draft"),
    [
        (["-ctk", "q8_0"], ("q8_0", "f16"), ("f16", "f16")),
        (["-ctv", "q4_0", "-ctvd", "q8_0"], ("f16", "q4_0"), ("f16", "q8_0")),
        (["--cache-type-k-draft", "f32"], ("f16", "f16"), ("f32", "f16")),
    ],
)
def test_each_has_a_cache_of_its_own_type(
    flags: list[str], model: tuple[str, str], draft: tuple[str, str]
) -> None:
    """llama-server does not give the draft model the type that it was told for the model."""
    for serving, expected in zip(served(*flags), (model, draft), strict=True):
        assert (serving.load.key_type, serving.load.value_type) == expected


def test_layers_and_devices_of_a_draft_model() -> None:
    """Its layers are its own; its devices too where they were said, else the model's."""
    placing = ("--device", "CUDA1", "--n-gpu-layers", "9", "--split-mode", "row")
    model, draft = served("--n-cpu-moe", "3", "--no-host", placing=placing)
    assert model.flags == ("--n-cpu-moe", "3", "--no-host", *placing)
    assert draft.flags == ("--no-host", "--device", "CUDA1", "--split-mode", "row")
    _, draft = served("-ngld", "5", "-devd", "CUDA0", placing=placing)
    assert draft.flags == ("--split-mode", "row", "--n-gpu-layers", "5", "--device", "CUDA0")


def test_what_only_the_server_understands_is_left_out() -> None:
    """The tool refuses flags that it does not have."""
    model, _ = served("--temp", "1", "--jinja", "--flash-attn", "off", "--image-max-tokens", "99")
    assert model.flags == ("--flash-attn", "off")
    assert not model.load.fused
    assert model.load.image_tokens == 99


def test_an_encoder_sees_a_text_whole() -> None:
    """Its physical batch is its context, and every token has an output."""
    facts = ModelFacts(context_length=4096, encodes=True)
    configuration = BackendConfiguration.model_validate({})
    files = ModelFiles(Path("w"), 0, facts=facts)
    serving = model_serving(files, configuration, BackendMode.EMBEDDING, parse_settings({}), ())
    assert serving.load.batch == 4096
    assert serving.load.embeds


def test_a_decoder_takes_a_text_in_pieces() -> None:
    """Where its last token is the embedding; where all are, the text must fit one batch."""
    assert served(mode=BackendMode.EMBEDDING)[0].load.batch == 512
    assert served("--pooling", "mean", mode=BackendMode.EMBEDDING)[0].load.batch == 4096
    assert served(mode=BackendMode.RERANKING)[0].load.batch == 4096


def test_slots_that_share_nothing() -> None:
    """Where an owner says so."""
    assert served()[0].load.unified
    assert not served("--no-kv-unified")[0].load.unified
