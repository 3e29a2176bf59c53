"""The image of a model: the image of its environment, and the model's files on top."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild.errors import ImageError
from envbuild.images.config import History, ImageConfig
from envbuild.images.environment import EnvironmentImage
from envbuild.images.layer import Layer, Member, tree, write_layer
from envbuild.images.workshop import Part, Workshop
from envbuild.model import Model, leads_out

# Where MLflow's own images have it, and where SageMaker looks.
PLACE = "/opt/ml/model"
_SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelImage:
    """A model with its environment, as an image that the daemon has."""

    tags: tuple[str, ...]
    id: str
    """The image ID."""
    config: ImageConfig | None
    """``None`` where the daemon built it from a template."""
    digest: str
    """The model's: ``sha256:`` over its files, by name and content."""


def model_layer(model: Model, folder: Path) -> Layer:
    """A model's files as a layer; its diff ID is the model's digest.

    :param folder: where the layer is written.
    :raises ModelError: a link in it leads out of it.
    """
    return write_layer(folder / "model.tar", members(model.path))


def members(root: Path) -> Iterator[Member]:
    """A model's files as members of a layer.

    :raises ModelError: a link in it leads out of it.
    """
    top = root.resolve()
    for member in tree(root, PLACE.lstrip("/")):
        if member.kind == "link":
            path = root / member.name.removeprefix(f"{PLACE.lstrip('/')}/")
            if not path.resolve().is_relative_to(top) or Path(member.link).is_absolute():
                raise leads_out(path)
        yield member


def default_tag(model: Model, lock_hash: str, digest: str) -> str:
    """``<name>:<lock hash short>-<model digest short>``, the name being that of the model's directory."""
    name = re.sub(r"[^a-z0-9]+", "-", model.path.resolve().name.lower()).strip("-") or "model"
    return f"{name}:{lock_hash[:_SHORT]}-{digest.removeprefix('sha256:')[:_SHORT]}"


def make(
    workshop: Workshop,
    environment: EnvironmentImage,
    model: Model,
    layer: Layer,
    tags: Sequence[str],
    labels: Mapping[str, str],
) -> ModelImage:
    """Put a model on its environment's image.

    :param labels: the deployer's own.
    :raises ImageError: the daemon refuses it.
    """
    part, below = Part(kind="model", layer=layer, what=f"the model {model.path.resolve().name}"), environment.config
    if below is None:
        raise ImageError(
            f"{environment.tag} was built from a template", hint="--template builds the model's image as well"
        )
    created = below.created if model.created is None else model.created.strftime("%Y-%m-%dT%H:%M:%SZ")
    config = replace(
        below,
        created=created,
        layers=(*below.layers, History(diff_id=layer.diff_id, created_by=part.what)),
        labels={**below.labels, **labels_of(model, layer.diff_id, created), **labels},
    )
    workshop.load_upon(config, list(tags), part, environment.tag)
    return ModelImage(tags=tuple(tags), id=config.id, config=config, digest=layer.diff_id)


def labels_of(model: Model, digest: str, created: str) -> dict[str, str]:
    """What a model's image says of the model."""
    labels = {
        "org.opencontainers.image.title": model.path.resolve().name,
        "org.opencontainers.image.created": created,
        "envbuild.model-digest": digest,
    }
    if model.mlflow_version is not None and model.mlflow_version.text:
        labels["envbuild.mlflow-version"] = model.mlflow_version.text
    return labels
