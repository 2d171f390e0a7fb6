"""How a model is made of files that came without a manifest of their own."""

from __future__ import annotations

from collections.abc import Sequence

from runnerd.models import bundle
from runnerd.models.description import Description
from runnerd.models.intake import Fetched, Intake
from runnerd.models.manifest import Layer, Manifest, build_config, build_manifest


def compose(intake: Intake, files: Sequence[Fetched]) -> tuple[Manifest, Description]:
    """Make config and manifest of the model whose layers are `files`, in this order.

    `intake` holds their content and takes the config.  Raises errors.InvalidModelFile.
    """
    layers = [Layer(file.media_type, file.pending.size, file.pending.digest) for file in files]
    description = describe_intake(intake, layers, [file.name for file in files])
    config = build_config(description, layers)
    intake.add_bytes(config)
    return build_manifest(config, layers), description


def describe_intake(
    intake: Intake,
    layers: Sequence[Layer],
    names: Sequence[str],
    context_size: int | None = None,
) -> Description:
    """Describe what is in `intake`, so that what is described is what was stored."""
    files = [intake.blobs[layer.digest].temporary for layer in layers]
    return bundle.describe_files(layers, files, names, context_size)
