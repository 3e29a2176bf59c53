"""Where models are: from whatever names one to a directory on this machine.

``naming``    what a text names: a folder, an archive, a URI
``search``    the search for what is not a folder here
``asking``    MLflow and object stores, through ``program``, a process of its own
``download``  archives on web servers
``archive``   a model out of an archive
``listing``   what lies at a URI

What was fetched is kept in the store by what it is (:mod:`envbuild.store.models`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from envbuild.errors import UsageError
from envbuild.locations.located import Located
from envbuild.locations.naming import named
from envbuild.progress import Report, silent
from envbuild.settings import Settings

__all__ = ["Located", "hold", "is_elsewhere", "locate"]


def is_elsewhere(given: str | Path) -> bool:
    """Whether what is given is a model's archive, or a URI that a model can have."""
    with contextlib.suppress(UsageError):
        return named(given).kind != "folder"
    return False


def locate(given: str | Path, settings: Settings, report: Report = silent, *, whole: bool = True) -> Located:
    """A model's directory, wherever the model is; what lies on this disk is used where it lies.

    :param whole: fetch all of it, and not only the few small files that say what it is and asks for.
    :raises ModelNotFound: there is nothing.
    :raises ModelUnreachable: whoever has it does not answer, or does not let us have it.
    :raises ModelUnreadable: it is an archive that cannot be unpacked.
    :raises UsageError: it is a URI that nothing here can read, or what reads it is not installed.
    """
    model = named(given)
    if model.kind == "folder":
        path = Path(model.text)
        hold(path, settings)
        return Located(path=path, uri=model.said)
    # Imported here: what lies on this disk needs none of it.
    from envbuild.locations.search import Search

    return Search(model, settings, report).found(whole=whole)


def hold(path: Path, settings: Settings) -> None:
    """Where a path is a model of the store, keep it from being collected while this process lives."""
    if settings.home in path.parents:
        from envbuild.store import Store
        from envbuild.store.models import Models

        Models(Store(settings)).hold(path)
