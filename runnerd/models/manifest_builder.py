"""How a model is made of files that came without a manifest of their own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runnerd.models import bundle
from runnerd.models.description import Description
from runnerd.models.gotemplates.translation import to_jinja
from runnerd.models.gotemplates.tree import TemplateError
from runnerd.models.intake import Fetched, Intake
from runnerd.models.manifest import TEMPLATE_TYPE, Layer, Manifest, build_config, build_manifest

log = logging.getLogger(__name__)


def compose(intake: Intake, files: Sequence[Fetched]) -> tuple[Manifest, Description]:
    """Make config and manifest of the model whose layers are `files`, in this order.

    `intake` holds their content and takes the config.  Raises errors.InvalidModelFile.
    """
    layers = [Layer(file.media_type, file.pending.size, file.pending.digest) for file in files]
    names = [file.name for file in files]
    description = describe_intake(intake, layers, names)
    if (template := _translated(description)) is not None:
        pending = intake.add_bytes(template.encode())
        layers.append(Layer(TEMPLATE_TYPE, pending.size, pending.digest))
        description = describe_intake(intake, layers, [*names, "the translated template"])
    config = build_config(description, layers)
    intake.add_bytes(config)
    return build_manifest(config, layers), description


def _translated(description: Description) -> str | None:
    """Return the template of a model that has one in Go's language only, as the engine takes it."""
    template = description.modelfile.template
    if description.chat_template is not None or not template:
        return None
    try:
        return to_jinja(template)
    except TemplateError as error:
        log.warning("a model's template cannot be used, the engine takes its own: %s", error)
        return None


def describe_intake(
    intake: Intake,
    layers: Sequence[Layer],
    names: Sequence[str],
    context_size: int | None = None,
) -> Description:
    """Describe what is in `intake`, so that what is described is what was stored."""
    files = [intake.blobs[layer.digest].temporary for layer in layers]
    return bundle.describe_files(layers, files, names, context_size)
