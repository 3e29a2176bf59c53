"""The Dockerfile template: the one that comes with envbuild, or the deployer's own, which the daemon then builds."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import ImageError, InternalError, UsageError
from envbuild.images import context
from envbuild.images.container import spooled
from envbuild.images.daemon import Found

if TYPE_CHECKING:
    from envbuild.images.making import Plan
    from envbuild.images.workshop import Workshop

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel the templates lie in the package; in a checkout beside it.
_PLACES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")


def text(path: Path | None) -> str:
    """A template's text; of the packaged one where none is named.

    :raises UsageError: it cannot be read.
    """
    if path is None:
        found = next((place / "Dockerfile" for place in _PLACES if (place / "Dockerfile").is_file()), None)
        if found is None:
            raise InternalError("the templates are not installed with envbuild", hint="install envbuild again with pip")
        path = found
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the template {path} cannot be read: {error}") from error


def build(
    workshop: Workshop, known: Plan, path: Path, tags: Sequence[str], labels: Mapping[str, str]
) -> tuple[Found, Found]:
    """Have the daemon build a template: the environment's image, then the model's.

    :raises ImageError: it cannot be built.
    """
    before = [workshop.daemon.find(tag) for tag in tags]
    with tempfile.TemporaryDirectory(prefix="envbuild-context-") as name:
        folder = Path(name) / "context"
        context.write(workshop, known, text(path), folder)
        environment = _stage(workshop, folder, f"env:{known.key}", "environment", {})
        model = _stage(workshop, folder, tags[0], "model", labels)
        workshop.daemon.prune()
    for tag in tags[1:]:
        workshop.daemon.tag(tags[0], tag)
    for found in before:
        workshop.daemon.remove_nameless(found)
    return environment, model


def _stage(workshop: Workshop, folder: Path, tag: str, stage: str, labels: Mapping[str, str]) -> Found:
    network = workshop.settings.build_network
    options = {"target": stage, "labels": dict(labels), "network_mode": network}
    with spooled() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(folder, ".")
        file.seek(0)
        workshop.daemon.build(file, tag, options, workshop.report)
    found = workshop.daemon.find(tag)
    if found is None:
        raise ImageError(f"the template's stage {stage} has given no image", hint="it needs a stage of that name")
    return found
