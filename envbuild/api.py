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
from envbuild.override.merging import settings_from
from envbuild.pipeline import Built

if TYPE_CHECKING:
    from envbuild.bridge import Worker
    from envbuild.review.check import Checked
    from envbuild.review.difference import Difference
    from envbuild.review.explanation import Explanation


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
    given = settings_from(settings)
    return pipeline.inspect(pipeline.ask(model, given), given)


def lock(model: str | Path, **settings: Any) -> Lock:
    """What a model's environment consists of, to the last file.

    :raises LockError: no lock can be made, or not the one that was demanded.
    """
    known = settings_from(settings)
    return pipeline.lock(pipeline.ask(model, known), known).lock


def explain(model: str | Path, package: str | None = None, **settings: Any) -> Explanation:
    """Why a model's lock has a package in this version, or why it has all of them.

    :param package: the one to explain; what the index has of it today is said too, unless that is offline.
    :raises UsageError: the lock has no such package.
    :raises LockError: as :func:`lock`.
    """
    from envbuild.review import explanation

    known = settings_from(settings)
    return explanation.of(pipeline.lock(pipeline.ask(model, known), known), known, package)


def diff(a: str | Path, b: str | Path, *, model: str | Path | None = None, **settings: Any) -> Difference:
    """What differs between two models, lock files, environments, images or override files, from ``a`` to ``b``.

    :param model: the model that an override file is taken for; by default the other side, where that is a model.
    :raises UsageError: one of them is nothing that can be compared.
    :raises LockError: as :func:`lock`, or a lock file cannot be read.
    :raises BuildError: an environment or an image cannot be read.
    """
    from envbuild.review import sides

    return sides.between(a, b, settings, model)


def check(
    model: str | Path,
    data: Any = None,
    *,
    expected: Any = None,
    only_overridden: bool = False,
    tolerance: float = 1e-6,
    absolute_tolerance: float = 1e-9,
    **settings: Any,
) -> Checked:
    """Whether an override is safe: what a model answers in its own environment and in the overridden one, compared.

    :param data: as :meth:`LoadedModel.predict` takes it; by default the model's input example, or one made from its
        signature.
    :param expected: an answer to compare with in place of the model's own environment's.
    :param only_overridden: compare nothing, only see whether the model works in the overridden environment.
    :param tolerance: the part of the larger value by which two numbers may differ; ``absolute_tolerance``: or by how
        much.
    :raises UsageError: there is nothing to predict on, or the settings contradict each other.
    :raises ModelError: it is no model. What fails later is a result.
    """
    from envbuild.review import check as review

    known = settings_from(settings)
    options = review.options_for(
        data, expected, only_overridden=only_overridden, relative=tolerance, absolute=absolute_tolerance
    )
    return review.check(model, known, options)


def build(model: str | Path, **settings: Any) -> Environment:
    """A model's environment: from the store, or built now.

    :raises LockError: as :func:`lock`.
    :raises BuildError: it cannot be built.
    """
    known = settings_from(settings)
    return pipeline.build(pipeline.lock(pipeline.ask(model, known), known), known).environment


def load_model(model: str | Path, **settings: Any) -> LoadedModel:
    """A model loaded in a worker, in its own environment, to be used in a ``with`` statement.

    :raises LockError: as :func:`lock`.
    :raises BuildError: as :func:`build`.
    :raises ModelNotLoaded: the model cannot be loaded.
    """
    known = settings_from(settings)
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
