"""The public functions; :mod:`envbuild` hands them out.

Every function takes the settings of :class:`envbuild.settings.Settings` by name (``as_of="now"``,
``python="3.9"``, ``offline=True``, …); what is not given comes from ``ENVBUILD_*`` or the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from envbuild import pipeline, request
from envbuild.environment import Environment
from envbuild.inspection import Inspection
from envbuild.lock import Lock
from envbuild.pipeline import Built
from envbuild.settings import Settings

if TYPE_CHECKING:
    from envbuild.bridge import Worker


class LoadedModel:
    """A model in a worker of its own: loaded once, asked as often as one likes, ended by ``close`` or ``with``."""

    def __init__(self, worker: Worker, built: Built) -> None:
        self._worker = worker
        self._built = built

    @property
    def lock(self) -> Lock:
        """What the model runs in."""
        return self._built.locked.lock

    @property
    def environment(self) -> Environment:
        """Where the model runs."""
        return self._built.environment

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """The model's answer: lists for arrays and columns, dicts for rows, as JSON has them.

        :param data: a DataFrame, an ndarray, a mapping of ndarrays, or what JSON has (see
            :func:`envbuild.request.body_of`).
        :param params: the parameters of the signature.
        :raises InputError: the data cannot be sent, or does not fit the signature.
        :raises ModelFailed: the model raised, or answered what JSON cannot hold, or ended.
        :raises Stopped: the model took too long or was killed.
        """
        return request.answer_of(self._worker.predict(request.body_of(data, params), request.JSON).payload)

    def close(self) -> None:
        """End the worker; a second time does nothing."""
        self._worker.close()

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def inspect(model: str | Path, **settings: Any) -> Inspection:
    """What a model is and asks for, and what that resolved to if it was locked before; nothing is resolved or run.

    :raises ModelError: it is no model.
    :raises SpecError: what it asks for cannot be understood.
    """
    given = Settings.from_environ(**settings)
    return pipeline.inspect(pipeline.ask(model, given), given)


def lock(model: str | Path, **settings: Any) -> Lock:
    """What a model's environment consists of, to the last file.

    :raises LockError: no lock can be made, or not the one that was demanded.
    """
    known = Settings.from_environ(**settings)
    return pipeline.lock(pipeline.ask(model, known), known).lock


def build(model: str | Path, **settings: Any) -> Environment:
    """A model's environment: from the store, or built now.

    :raises LockError: as :func:`lock`.
    :raises BuildError: it cannot be built.
    """
    known = Settings.from_environ(**settings)
    return pipeline.build(pipeline.lock(pipeline.ask(model, known), known), known).environment


def load_model(model: str | Path, **settings: Any) -> LoadedModel:
    """A model loaded in a worker, in its own environment, to be used in a ``with`` statement.

    :raises LockError: as :func:`lock`.
    :raises BuildError: as :func:`build`.
    :raises ModelNotLoaded: the model cannot be loaded.
    """
    known = Settings.from_environ(**settings)
    built = pipeline.build(pipeline.lock(pipeline.ask(model, known), known), known)
    worker = pipeline.start(built, known)
    try:
        worker.wait_loaded()
    except BaseException:
        worker.close()
        raise
    return LoadedModel(worker, built)


def predict(model: str | Path, data: Any, params: Mapping[str, Any] | None = None, **settings: Any) -> Any:
    """One prediction in a worker that ends with it; see :meth:`LoadedModel.predict`.

    :raises EnvbuildError: as :func:`load_model` and :meth:`LoadedModel.predict`.
    """
    with load_model(model, **settings) as loaded:
        return loaded.predict(data, params)
