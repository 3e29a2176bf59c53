"""Loaders: whether a model is loaded by the mlflow of its environment, or directly, and why.

A direct load spares the import of mlflow, which is half of a cold start. It is taken where ``loaders.json`` says that
it gives the same answers: a list that ``tests/conformance/loaders.py`` makes by holding one against the other in the
environments of mlflow's releases. ``docs/loaders.md`` is the page about it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from envbuild.bridge import spark
from envbuild.bridge.options import WorkerOptions
from envbuild.errors import UsageError
from envbuild.lock import Lock, LockedPackage
from envbuild.model import PYFUNC, Model

ALLOWED: Final = Path(__file__).resolve().parent / "loaders.json"
OWN: Final = "loader_module"
"""What the list calls a loader of the model's own."""
_FLAVORS: Final = ("lightgbm", "onnx", "sklearn", "xgboost")
_PICKLES: Final = ("pickle", "cloudpickle")
_BOOSTERS: Final = {"xgboost": "xgboost.core.Booster", "lightgbm": "lightgbm.basic.Booster"}
_ESTIMATORS: Final = {"xgboost": "xgboost.sklearn.", "lightgbm": "lightgbm.sklearn."}
# Else setuptools, where it is in the environment, takes the place of distutils, and joblib imports all of it for a
# comparison of versions: a sixth of a start.
_QUICK: Final = {"SETUPTOOLS_USE_DISTUTILS": "stdlib"}
_FINAL: Final = re.compile(r"\d+(\.\d+){1,2}(\.post\d+)?")
_NUMBERS: Final = re.compile(r"(bool|u?int\d+|float\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a model is kept, as far as a direct load is concerned."""

    flavor: str
    """``sklearn``, ``xgboost``, ``lightgbm``, ``onnx`` or ``loader_module``."""
    serialization: str
    """As the list names it: ``cloudpickle``, ``booster/ubj``, ``estimator/skops``."""
    order: Mapping[str, Any] | None
    """What the worker is told of the flavor; ``None`` for a loader of the model's own."""
    pickle: Path | None = None
    """The file that is unpickled, where one is."""


class _NotDirect(Exception):
    """Why a model cannot be loaded directly, or is not without being told to."""


def decided(options: WorkerOptions, model: Model, lock: Lock | None) -> WorkerOptions:
    """The options with ``loader`` decided: ``mlflow`` or ``direct``, with ``why`` and the mlflow that it is instead of.

    What its flavor needs beside is decided with it, by :mod:`envbuild.bridge.spark`.

    :param lock: what the environment was built from; ``None`` where nobody knows.
    :raises UsageError: ``direct`` was demanded, and this model cannot be.
    :raises SystemPackageMissing: the flavor needs a Java, and none that will do is here.
    """
    return spark.prepared(_with_loader(options, model, lock), model, lock)


def _with_loader(options: WorkerOptions, model: Model, lock: Lock | None) -> WorkerOptions:
    mlflow = None if lock is None else _mlflow_in(lock)
    release = None if mlflow is None else _minor(mlflow.version)
    if options.loader == "direct":
        try:
            form = form_of(model)
        except _NotDirect as error:
            raise UsageError(
                f"the model cannot be loaded directly: {error}",
                hint="leave out --loader direct, and the environment's mlflow loads it",
            ) from None
        return _direct(options, form, release, lock, "as was asked for")
    if lock is not None and mlflow is None:
        return _without_mlflow(options, model, lock)
    if options.loader == "mlflow":
        return replace(options, why="loaded by mlflow, as was asked for")
    try:
        form = _proven(model, mlflow, lock, options)
    except _NotDirect as error:
        return replace(options, loader="mlflow", why=f"loaded by mlflow{f' {release}' if release else ''}: {error}")
    why = f"{form.flavor} ({form.serialization}) is the same with mlflow {release}"
    return _direct(options, form, release, lock, why)


def _without_mlflow(options: WorkerOptions, model: Model, lock: Lock) -> WorkerOptions:
    """By the model's own loader module; where that is mlflow's, as mlflow would, from the flavor's own file."""
    why = "the environment has no mlflow"
    with contextlib.suppress(_NotDirect):
        form = form_of(model)
        if form.order is not None and options.loader != "mlflow":
            return _direct(options, form, None, lock, why)
    return replace(options, loader="mlflow", why=f"loaded by its loader module: {why}")


def _direct(options: WorkerOptions, form: Form, release: str | None, lock: Lock | None, why: str) -> WorkerOptions:
    has_distutils = lock is not None and _tuple(lock.python) < (3, 12)
    return replace(
        options,
        loader="direct",
        instead_of=release,
        flavor=form.order,
        set_env={**(_QUICK if has_distutils and form.order is not None else {}), **options.set_env},
        why=f"loaded directly: {why}",
    )


def _tuple(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def form_of(model: Model) -> Form:
    """How a model is kept.

    :raises _NotDirect: it cannot be loaded directly.
    """
    pyfunc = model.pyfunc
    loader = pyfunc.loader_module
    if model.from_type_hints:
        raise _NotDirect("its signature comes from type hints, which mlflow's own code reads")
    if loader != "mlflow" and not loader.startswith("mlflow."):
        return Form(flavor=OWN, serialization="code", order=None)
    flavor = loader.removeprefix("mlflow.")
    if flavor not in _FLAVORS:
        raise _NotDirect(f"its loader, {loader}, is mlflow's own code")
    _check_plain(model)
    return _form_of_flavor(model, flavor, pyfunc.data or pyfunc.data_of_flavor)


def _check_plain(model: Model) -> None:
    """Look for what mlflow's flavors do beside loading and ``predict``.

    :raises _NotDirect: the model has something of it.
    """
    if model.pyfunc.predict_fn != "predict":
        raise _NotDirect(f"it predicts by {model.pyfunc.predict_fn}, and not by predict")
    if model.signature is not None and model.signature.params:
        raise _NotDirect("its signature has params")
    if model.pyfunc.config is not None:
        raise _NotDirect("it has a config")


def _form_of_flavor(model: Model, flavor: str, data: str | None) -> Form:
    facts = model.flavors.get(flavor, {})
    if data is None or not (model.path / data).is_file():
        raise _NotDirect(f"it names no file that {flavor} loads")
    if facts.get("data", data) != data:
        raise _NotDirect(f"its flavors name two files: {data} and {facts['data']}")
    order: dict[str, Any] = {"name": flavor, "file": data}
    if flavor == "onnx":
        order.update(providers=_providers(facts), session=facts.get("onnx_session_options"))
        return Form(flavor=flavor, serialization="onnx", order=order)
    kind, serialization = _kind_of(flavor, facts)
    if serialization in (*_PICKLES, "skops"):
        order.update(serialization=serialization, trusted=facts.get("skops_trusted_types"))
    if kind:
        order["class"] = str(facts.get("model_class") or _BOOSTERS[flavor])
    pickle = model.path / data if serialization in _PICKLES else None
    return Form(flavor=flavor, serialization=f"{kind}{serialization}", order=order, pickle=pickle)


def _kind_of(flavor: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    """What is in the file, and how; of sklearn's models the latter alone."""
    if flavor == "sklearn":
        return "", _known_serialization(facts.get("serialization_format", "pickle"))
    of_class = str(facts.get("model_class") or _BOOSTERS[flavor])
    if of_class != _BOOSTERS[flavor] and not of_class.startswith(_ESTIMATORS[flavor]):
        raise _NotDirect(f"its class, {of_class}, is none of {flavor}'s own")
    if flavor == "xgboost":
        kind = "booster/" if of_class == _BOOSTERS[flavor] else "estimator/"
        return kind, str(facts.get("model_format", "xgb"))
    if of_class == _BOOSTERS[flavor]:
        return "booster/", "text"
    return "estimator/", _known_serialization(facts.get("serialization_format", "cloudpickle"))


def _known_serialization(said: Any) -> str:
    if said not in (*_PICKLES, "skops"):
        raise _NotDirect(f"its serialization is {said!r}")
    return str(said)


def _providers(facts: Mapping[str, Any]) -> list[Any] | None:
    said = facts.get("providers")
    return [said] if isinstance(said, str) else said


def _proven(model: Model, mlflow: LockedPackage | None, lock: Lock | None, options: WorkerOptions) -> Form:
    """How a model is kept for which the list says that a direct load gives the same answers.

    :raises _NotDirect: it does not say so.
    """
    if mlflow is None or lock is None:
        raise _NotDirect("nobody knows which one that is")
    if mlflow.kind not in ("wheel", "sdist") or not _FINAL.fullmatch(mlflow.version or ""):
        raise _NotDirect("it is no release of its own project")
    form, release = form_of(model), str(_minor(mlflow.version))
    _check_listed(model, form, release)
    _check_untried(model, form)
    if form.flavor == "onnx" and any(package.name.startswith("onnxruntime-") for package in lock.packages):
        raise _NotDirect("its onnxruntime is one for accelerators")
    named = [name for name in (*options.pass_env, *options.set_env) if name.startswith("MLFLOW_")]
    if named:
        raise _NotDirect(f"{named[0]} is set, which mlflow reads")
    if form.pickle is not None and mentions_mlflow(form.pickle):
        raise _NotDirect("its pickle mentions mlflow")
    return form


def _check_listed(model: Model, form: Form, release: str) -> None:
    """Look a model up in the list, by the mlflow that would load it and the one that saved it.

    :raises _NotDirect: it is not there.
    """
    saved_by = None if model.mlflow_version is None else _minor(model.mlflow_version.text)
    for one in dict.fromkeys(filter(None, (release, saved_by))):
        if form.serialization not in _entry(one)["flavors"].get(form.flavor, ()):
            raise _NotDirect(f"{form.flavor} ({form.serialization}) is not shown to be the same for mlflow {one}")
    if form.flavor == "onnx" and saved_by not in (None, release):
        raise _NotDirect(f"mlflow {saved_by} saved it, and loads onnx in another way")
    if model.signature is not None:
        unshown = sorted(set(kinds_of(model.signature.to_dict())) - set(_entry(release)["signatures"]))
        if unshown:
            raise _NotDirect(f"its signature has {', '.join(unshown)}, which is not shown to be the same")


def _check_untried(model: Model, form: Form) -> None:
    """What the list does not try, and a direct load might do otherwise.

    :raises _NotDirect: there is something of it.
    """
    pyfunc = model.pyfunc
    if form.order is not None:
        if any("mlflow" in str(name) for name in form.order.get("trusted") or ()):
            raise _NotDirect("it trusts types of mlflow's")
        return
    _check_plain(model)
    if "model_path" in model.flavors.get(PYFUNC, {}):
        raise _NotDirect("it names its data as flavors of mlflow's do")
    top = pyfunc.loader_module.partition(".")[0]
    folder = model.path / pyfunc.code if pyfunc.code else None
    if folder is None or not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        raise _NotDirect(f"its loader, {pyfunc.loader_module}, is not among its own code")


def kinds_of(signature: Mapping[str, Any]) -> Iterator[str]:
    """The kinds of inputs that a signature has, as the list names them."""
    for spec in signature.get("inputs") or ():
        kind = str(spec.get("type", "any")).lower()
        if kind == "tensor":
            dtype = str(spec.get("tensor-spec", {}).get("dtype"))
            named = "tensors with names" if spec.get("name") is not None else "tensor"
            yield named if _NUMBERS.match(dtype) else f"{named}: {dtype}"
            continue
        yield kind
        if spec.get("name") is None:
            yield "columns without names"
        if spec.get("optional", not spec.get("required", True)):
            yield "optional"


def mentions_mlflow(pickle: Path) -> bool:
    """Whether a pickle may import mlflow: names stand in it as they are."""
    with pickle.open("rb") as file:
        if not pickle.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"mlflow") >= 0


def _mlflow_in(lock: Lock) -> LockedPackage | None:
    """The mlflow of an environment, whole or skinny."""
    known = {package.name: package for package in lock.packages}
    return known.get("mlflow", known.get("mlflow-skinny"))


def _minor(version: str | None) -> str | None:
    """A version's first two numbers, as ``3.17``."""
    numbers = re.match(r"\d+\.\d+", version or "")
    return None if numbers is None else numbers[0]


@functools.cache
def _list() -> Mapping[str, Any]:
    return json.loads(ALLOWED.read_bytes())["mlflow"]  # type: ignore[no-any-return]


def _entry(release: str) -> Mapping[str, Any]:
    """What the list says of a release; of one that is not on it, that nothing is shown."""
    return _list().get(release, {"flavors": {}, "signatures": []})  # type: ignore[no-any-return]
