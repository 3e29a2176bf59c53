"""Model to spec, with the override."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from envbuild.model import read_model
from envbuild.override import applying
from envbuild.override.applying import Overridden
from envbuild.override.merging import override_of
from envbuild.pipeline.stages import Asked
from envbuild.repairs.reading import mend
from envbuild.repairs.rules import NEEDS_CONSENT, Switch
from envbuild.settings import Settings
from envbuild.spec import read_spec


def ask(path: Path | str, settings: Settings) -> Asked:
    """Model to spec, with the override.

    :raises ModelError: it is no model.
    :raises SpecError: its files cannot be understood.
    """
    model = read_model(path)
    expand = {name: os.environ[name] for name in settings.expand if name in os.environ}
    switch = Switch.of(settings)
    override = override_of(settings, os.environ)
    leave_out = switch.allows("missing-package")
    asked = read_spec(
        model, expand, leave_out_missing=leave_out, instead=override.instead, conda=from_channels(settings)
    )
    overridden: Overridden = applying.apply(asked, override, settings.python)
    spec, repaired = mend(overridden.spec, switch)
    # What was left out while reading is a repair like the others.
    left_out = tuple(notice for notice in spec.notices if notice.code in NEEDS_CONSENT)
    spec = replace(spec, notices=tuple(notice for notice in spec.notices if notice not in left_out))
    return Asked(model=model, spec=spec, interpreter=overridden.interpreter, repairs=(*left_out, *repaired))


def from_channels(settings: Settings) -> bool:
    """Whether conda.yaml's own packages are to come from their channels."""
    if settings.conda_packages != "auto":
        return settings.conda_packages == "conda"
    from importlib.util import find_spec

    return find_spec("rattler") is not None
