"""The public functions; :mod:`envbuild` hands them out.

Every function takes the settings of :class:`envbuild.settings.Settings` by name (``as_of="now"``,
``python="3.9"``, ``offline=True``, …); what is not given comes from ``ENVBUILD_*`` or the default.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from envbuild import pipeline, request
from envbuild.environment import Environment
from envbuild.inspection import Inspection
from envbuild.lock import Lock
from envbuild.override.merging import settings_from
from envbuild.pipeline import Built

if TYPE_CHECKING:
    from envbuild.batching import Batch, Progress
    from envbuild.bridge import Pool
    from envbuild.bundling import Exported
    from envbuild.review.check import Checked
    from envbuild.review.difference import Difference
    from envbuild.review.explanation import Explanation
    from envbuild.settings import Settings
    from envbuild.sharing.pushing import Pushed


class LoadedModel:
    """A model in ``workers`` workers of its own.

    Loaded once in each, asked as often as one likes, by any threads, ended by ``close`` or ``with``. Each prediction goes
    to a worker that has none; where all have one, it waits for the first that is free. A worker that died, timed out or
    was ended for idling (``idle_timeout``) is followed by another at the next prediction, in the same environment.
    """

    def __init__(self, worker: Pool, built: Built, *, enforces: bool = True) -> None:
        """:param enforces: whether inputs are held against the signature."""
        self._worker = worker
        self._built = built
        signature = built.locked.asked.model.signature if enforces else None
        inputs = () if signature is None else signature.inputs or ()
        self._kinds = {field.name: field.type for field in inputs} or None

    @property
    def lock(self) -> Lock:
        """What the model runs in."""
        return self._built.locked.lock

    @property
    def environment(self) -> Environment:
        """Where the model runs."""
        return self._built.environment

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that there are now."""
        return self._worker.pids

    @property
    def busy(self) -> int:
        """How many workers predict now, of ``workers``."""
        return self._worker.busy

    @property
    def workers(self) -> int:
        """How many predictions are made side by side; more wait for the first worker that is free."""
        return self._worker.size

    def predict(self, data: Any, params: Mapping[str, Any] | None = None, *, content_type: str | None = None) -> Any:
        """The model's answer: lists for arrays and columns, dicts for rows, as JSON has them. Any thread may ask.

        :param data: a DataFrame (of pandas, or of a library that speaks Arrow), a Series, an ndarray, a mapping of
            ndarrays, what JSON has (see :func:`envbuild.request.body_of`), or bytes: a request's body as it is.
        :param params: the parameters of the signature; with bytes they stand in the body.
        :param content_type: what the bytes are, such as ``text/csv``; by default JSON.
        :raises InputError: the data cannot be sent, or does not fit the signature.
        :raises ModelNotLoaded: the model was to be loaded again, and could not be.
        :raises ModelFailed: the model raised, or answered what JSON cannot hold, or ended.
        :raises Stopped: the model took too long or was killed.
        """
        asked = request.question_of(
            data, params, content_type=content_type, kinds=self._kinds, reads=self._worker.reads
        )
        answer = self._worker.predict(asked.payload, asked.content_type, accept=asked.accept)
        return request.answer_of(answer.payload, answer.content_type)

    def close(self) -> None:
        """End the workers, each when it has answered; a second time does nothing."""
        self._worker.close()

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def settings_for(model: str | Path, given: Mapping[str, Any]) -> Settings:
    """The settings of a call; a model that is a bundle is where all the rest comes from too."""
    if given.get("bundle") is None and Path(model).is_file():
        from envbuild.bundles.reading import is_bundle

        if is_bundle(Path(model)):
            given = {**given, "bundle": model}
    return settings_from(given)


def inspect(model: str | Path, **settings: Any) -> Inspection:
    """What a model is and asks for, and what that resolved to if it was locked before; nothing is resolved or run.

    :raises ModelError: it is no model.
    :raises SpecError: what it asks for cannot be understood.
    """
    given = settings_for(model, settings)
    return pipeline.inspect(pipeline.ask(model, given, whole=False), given)


def lock(model: str | Path, **settings: Any) -> Lock:
    """What a model's environment consists of, to the last file.

    :raises LockError: no lock can be made, or not the one that was demanded.
    """
    known = settings_for(model, settings)
    return pipeline.lock(pipeline.ask(model, known, whole=False), known).lock


def explain(model: str | Path, package: str | None = None, **settings: Any) -> Explanation:
    """Why a model's lock has a package in this version, or why it has all of them.

    :param package: the one to explain; what the index has of it today is said too, unless that is offline.
    :raises UsageError: the lock has no such package.
    :raises LockError: as :func:`lock`.
    """
    from envbuild.review import explanation

    known = settings_for(model, settings)
    return explanation.of(pipeline.lock(pipeline.ask(model, known, whole=False), known), known, package)


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

    known = settings_for(model, settings)
    options = review.options_for(
        data, expected, only_overridden=only_overridden, relative=tolerance, absolute=absolute_tolerance
    )
    return review.check(model, known, options)


def export_bundle(
    model: str | Path,
    path: str | Path,
    *,
    platforms: Sequence[str] = (),
    with_model: bool = True,
    with_python: bool = False,
    sign_key: str | Path | None = None,
    **settings: Any,
) -> Exported:
    """Write a model, its locks and all files that they name to one file, from which it runs without a network.

    What is an sdist goes in as a wheel that is built here. A bundle is a model like any other: its path may be given
    wherever a model's may, and ``bundle=`` beside the path of a model that it does not hold.

    :param platforms: the machines that it is for, as ``envbuild lock --platform`` has them; none: this one.
    :param with_python: put the Python in too, which uv must manage.
    :param sign_key: a private key of Ed25519 (a PEM file) that signs it.
    :raises LockError: as :func:`lock`.
    :raises BundleError: something cannot be put into a bundle.
    :raises BuildError: a file cannot be had, or a wheel cannot be built.
    """
    from envbuild import bundling
    from envbuild.target import platform_tag

    options = bundling.Options(
        platforms=tuple(map(platform_tag, platforms)),
        with_model=with_model,
        with_python=with_python,
        sign_key=None if sign_key is None else Path(sign_key),
    )
    known = settings_for(model, settings)
    return bundling.export(pipeline.ask(model, known), Path(path), options, known)


def build(model: str | Path, **settings: Any) -> Environment:
    """A model's environment: from the store, or built now.

    :raises LockError: as :func:`lock`.
    :raises BuildError: it cannot be built.
    """
    known = settings_for(model, settings)
    return pipeline.provide(pipeline.ask(model, known), known).environment


def push(model: str | Path, share: str, *, sign_key: Path | None = None, **settings: Any) -> Pushed:
    """Put a model's lock and the files that it names into a share, for others to pull (docs/sharing.md).

    :param share: a folder, ``s3://bucket/path`` and the like, or ``oci://registry/repository``.
    :param sign_key: the private key (Ed25519, PEM) that signs it.
    :raises LockError: as :func:`lock`.
    :raises BuildError: a file cannot be had or built, or the share cannot be used.
    """
    from envbuild.sharing import pushing

    known = settings_from(settings)
    return pushing.push(pipeline.ask(model, known), share, known, sign_key=sign_key)


def pull(model: str | Path, share: str, **settings: Any) -> Environment:
    """A model's environment, built of what somebody has pushed to a share (docs/sharing.md).

    :raises ShareMissing: nobody has.
    :raises SharePoisoned: what is there is not what it says that it is.
    :raises BundleUntrusted: it is not signed as ``require_signature`` demands.
    :raises BuildError: the share cannot be used, or the environment not be built.
    """
    from envbuild.sharing import pulling

    known = settings_from(settings)
    return pulling.pull(pipeline.ask(model, known), share, known).built.environment


def load_model(model: str | Path, **settings: Any) -> LoadedModel:
    """A model loaded in ``workers`` workers, in its own environment, to be used in a ``with`` statement.

    :raises LockError: as :func:`lock`.
    :raises BuildError: as :func:`build`.
    :raises ModelNotLoaded: the model cannot be loaded.
    :raises ConfinementUnavailable: this machine cannot keep from it what it should not have.
    """
    known = settings_for(model, settings)
    for notice in pipeline.absent_variables(known):
        warnings.warn(notice.message, stacklevel=2)
    built = pipeline.provide(pipeline.ask(model, known), known)
    worker = pipeline.keep(built, known)
    try:
        worker.wait_loaded()
    except BaseException:
        worker.close()
        raise
    return LoadedModel(worker, built, enforces=not known.no_enforce)


def predict(model: str | Path, data: Any, params: Mapping[str, Any] | None = None, **settings: Any) -> Any:
    """One prediction in a worker that ends with it; see :meth:`LoadedModel.predict`.

    :raises EnvbuildError: as :func:`load_model` and :meth:`LoadedModel.predict`.
    """
    with load_model(model, **settings) as loaded:
        return loaded.predict(data, params)


def batch(
    model: str | Path,
    source: str | Path | Sequence[str | Path],
    target: str | Path,
    *,
    on_error: Literal["stop", "skip", "null"] = "stop",
    chunk_rows: int | None = None,
    resume: bool = False,
    restart: bool = False,
    keep: Sequence[str] = (),
    content_type: str | None = None,
    to: Literal["csv", "jsonl", "parquet"] | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
    **settings: Any,
) -> Batch:
    """Predict every row of tables of any size, in constant memory, and write the answers in the same order.

    :param source: CSV, JSON Lines and Parquet files: one or several paths, globs or folders.
    :param target: a file, or a folder for a file each; it appears when it is complete.
    :param on_error: what becomes of a row that fails: the batch stops, it is left out, or it becomes a row of nulls.
    :param chunk_rows: how many rows are predicted at once; by default so many as come to 4 MiB, at most 100,000.
    :param resume: go on where the last batch of this target ended; ``restart``: throw away what it left.
    :param keep: columns of the input that stand before the answer.
    :param content_type: what the source holds, where its ending does not say it; ``to``: likewise for the target.
    :param tell: hears how far it is, after each chunk.
    :raises InputError: an input cannot be read, or a row does not fit the signature; says which.
    :raises ModelFailed: the model failed on a row; says which.
    :raises Stopped: it took too long over some rows, or was killed; says which.
    :raises UsageError: the target cannot be written, or an earlier batch of it is neither resumed nor restarted.
    :raises EnvbuildError: as :func:`load_model`.
    """
    from envbuild import batching
    from envbuild.batching import places, working

    options = batching.Options(
        on_error=on_error,
        chunk_rows=chunk_rows,
        resume=resume,
        restart=restart,
        keep=tuple(keep),
        content_type=content_type,
        to=to,
    )
    plan = places.plan([source] if isinstance(source, (str, Path)) else source, target, options)
    known = settings_for(model, settings)
    asked = pipeline.ask(model, known)
    for notice in (*pipeline.absent_variables(known), *working.notices(asked.model)):
        warnings.warn(notice.message, stacklevel=2)
    return batching.run(pipeline.provide(asked, known), known, plan, options, tell=tell)
