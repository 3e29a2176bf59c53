"""Model to spec, with the override."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import EnvbuildError
from envbuild.locations import Located, locate
from envbuild.model import Model, read_model
from envbuild.override import applying
from envbuild.override.applying import Overridden
from envbuild.override.merging import override_of
from envbuild.pipeline.stages import Asked
from envbuild.progress import Report, silent
from envbuild.repairs.reading import mend
from envbuild.repairs.rules import NEEDS_CONSENT, Switch
from envbuild.settings import Settings
from envbuild.spec import read_spec

if TYPE_CHECKING:
    from envbuild.bundles.importing import Imported


def ask(given: Path | str, settings: Settings, report: Report = silent, *, whole: bool = True) -> Asked:
    """Whatever names a model to its spec, with the override.

    :param given: a directory, an archive, or a URI (:mod:`envbuild.locations`).
    :param whole: fetch all of a model that lies elsewhere; else what tells its spec, as far as that is known to do.
    :raises ModelError: it is no model, or it cannot be had.
    :raises SpecError: its files cannot be understood.
    :raises BundleError: the bundle that it is to come from cannot be used.
    """
    located, bundle = _located(given, settings, report, whole=whole)
    if not located.whole:
        # What is not there may be said to be missing; that can only be told from the whole.
        with contextlib.suppress(EnvbuildError):
            asked = _asked(located, bundle, settings)
            if not asked.spec.parts and "file-missing" not in {notice.code for notice in asked.spec.notices}:
                return asked
        located = locate(given, settings, report)
    return _asked(located, bundle, settings)


def read(given: Path | str, settings: Settings, report: Report = silent) -> Model:
    """The model that a call means, with or without a bundle.

    :raises ModelError: it is no model, or it cannot be had.
    :raises BundleError: the bundle cannot be used.
    """
    return read_model(_located(given, settings, report, whole=True)[0].path)


def _located(given: Path | str, settings: Settings, report: Report, *, whole: bool) -> tuple[Located, Imported | None]:
    """Where a model is, and the bundle that it comes with: a bundle that holds one is its place."""
    if settings.bundle is None:
        return locate(given, settings, report, whole=whole), None
    from envbuild.bundles.importing import imported  # few models come with one

    bundle = imported(settings)
    if bundle.is_at(given):
        return Located(path=bundle.own_model(), uri=str(bundle.file)), bundle
    return locate(given, settings, report, whole=whole), bundle


def _asked(located: Located, bundle: Imported | None, settings: Settings) -> Asked:
    model = read_model(located.path)
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
    notices = (*located.notices, *(notice for notice in spec.notices if notice not in left_out))
    spec = replace(spec, notices=notices)
    repairs = (*left_out, *repaired)
    return Asked(
        model=model,
        uri=located.uri,
        spec=spec,
        interpreter=overridden.interpreter,
        repairs=repairs,
        bundle=bundle,
    )


def from_channels(settings: Settings) -> bool:
    """Whether conda.yaml's own packages are to come from their channels."""
    if settings.conda_packages != "auto":
        return settings.conda_packages == "conda"
    from importlib.util import find_spec

    return find_spec("rattler") is not None
