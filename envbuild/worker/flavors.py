"""Flavors: models of libraries whose loading is documented, loaded as mlflow's own modules load them, without mlflow.

What ``predict`` does is what the flavor's own pyfunc does, release by release; ``tests/conformance/loaders.py`` holds
one against the other. Only what the model itself needs is imported.
"""

import importlib
import os
import sys

from .loading import KNOWS_PARAMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# The release of mlflow from which onnx's flavor chooses among the providers that there are.
CHOOSES_PROVIDERS = (3, 15)
ONNX_PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]
CPU = "CPUExecutionProvider"


def load(order: "dict[str, Any]", release: "tuple[int, ...] | None") -> "Any":
    """The object that predicts, from a flavor's files.

    :param release: the mlflow whose ways are followed; ``None``: the newest that is known.
    """
    flavor = order["flavor"]
    predict = LOADERS[flavor["name"]](os.path.join(order["model"], flavor["file"]), flavor, release)
    return Flavored(predict) if release is not None and release < KNOWS_PARAMS else FlavoredWithParams(predict)


class Flavored:
    """A model of a release that knew no params."""

    def __init__(self, predict: "Callable[[Any], Any]") -> None:
        self._predict = predict

    def predict(self, data: "Any") -> "Any":
        """What the model makes of the data."""
        return self._predict(data)


class FlavoredWithParams(Flavored):
    """A model that takes params, and has no use for them."""

    def predict(self, data: "Any", params: "dict[str, Any] | None" = None) -> "Any":
        """What the model makes of the data."""
        return self._predict(data)


def _sklearn(path: str, flavor: "dict[str, Any]", release: "tuple[int, ...] | None") -> "Callable[[Any], Any]":
    return _unpickled(path, flavor).predict  # type: ignore[no-any-return]


def _unpickled(path: str, flavor: "dict[str, Any]") -> "Any":
    if flavor["serialization"] == "skops":
        return importlib.import_module("skops.io").load(path, trusted=flavor.get("trusted"))
    import pickle  # cloudpickle's own load is this one, in every release

    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301 - a model is code


def _xgboost(path: str, flavor: "dict[str, Any]", release: "tuple[int, ...] | None") -> "Callable[[Any], Any]":
    xgboost = importlib.import_module("xgboost")
    module, _, name = flavor["class"].rpartition(".")
    model = getattr(importlib.import_module(module), name)()
    model.load_model(path)
    if isinstance(model, xgboost.Booster):
        return lambda data: model.predict(xgboost.DMatrix(data))
    return model.predict  # type: ignore[no-any-return]


def _lightgbm(path: str, flavor: "dict[str, Any]", release: "tuple[int, ...] | None") -> "Callable[[Any], Any]":
    if "serialization" not in flavor:  # LightGBM's own text, and no pickle
        return importlib.import_module("lightgbm").Booster(model_file=path).predict  # type: ignore[no-any-return]
    return _unpickled(path, flavor).predict  # type: ignore[no-any-return]


def _onnx(path: str, flavor: "dict[str, Any]", release: "tuple[int, ...] | None") -> "Callable[[Any], Any]":
    runtime = importlib.import_module("onnxruntime")
    options = _session_options(runtime, flavor.get("session") or {})
    providers = flavor.get("providers") or ONNX_PROVIDERS
    providers = [tuple(one) if isinstance(one, list) else one for one in providers]
    if release is not None and release < CHOOSES_PROVIDERS:
        try:
            session = runtime.InferenceSession(path, sess_options=options)
        except ValueError:  # onnxruntime from 1.9 on, built for accelerators
            session = runtime.InferenceSession(path, providers=providers, sess_options=options)
    else:
        session = _session(runtime, path, providers, options)
    return Onnx(session).predict


def _session(runtime: "Any", path: str, providers: "list[Any]", options: "Any") -> "Any":
    """A session with the providers that there are; where they do not work, with the processor alone."""
    available = runtime.get_available_providers()
    usable = [one for one in providers if (one if isinstance(one, str) else one[0]) in available] or [CPU]
    try:
        return runtime.InferenceSession(path, providers=usable, sess_options=options)
    except Exception as error:
        if usable == [CPU]:
            raise
        sys.stderr.write(f"envbuild: {usable} do not work here ({error}); the model runs on the processor\n")
        return runtime.InferenceSession(path, providers=[CPU], sess_options=options)


def _session_options(runtime: "Any", said: "dict[str, Any]") -> "Any":
    options = runtime.SessionOptions()
    for name in ("inter_op_num_threads", "intra_op_num_threads"):
        if said.get(name):
            setattr(options, name, said[name])
    mode = {"SEQUENTIAL": "ORT_SEQUENTIAL", "PARALLEL": "ORT_PARALLEL"}.get(str(said.get("execution_mode")).upper())
    if mode:
        options.execution_mode = getattr(runtime.ExecutionMode, mode)
    if said.get("graph_optimization_level"):
        options.graph_optimization_level = runtime.GraphOptimizationLevel(said["graph_optimization_level"])
    for key, value in (said.get("extra_session_config") or {}).items():
        options.add_session_config_entry(key, value)
    return options


class Onnx:
    """A session of onnxruntime, fed as mlflow feeds it since its release 1.14."""

    def __init__(self, session: "Any") -> None:
        self._session = session
        self._inputs = [(one.name, one.type) for one in session.get_inputs()]
        self._outputs = [one.name for one in session.get_outputs()]

    def predict(self, data: "Any") -> "Any":
        """A table of a table, a dict of arrays of a dict or an array."""
        pandas = sys.modules.get("pandas")  # without it nothing is a table
        is_table = pandas is not None and isinstance(data, pandas.DataFrame)
        answers = self._session.run(self._outputs, self._narrowed(self._fed(data, is_table)))
        if not is_table:
            return dict(zip(self._outputs, answers))
        asarray = importlib.import_module("numpy").asarray
        columns = {name: asarray(answer).reshape(-1) for name, answer in zip(self._outputs, answers)}
        return pandas.DataFrame.from_dict(columns)  # type: ignore[union-attr]

    def _fed(self, data: "Any", is_table: bool) -> "dict[str, Any]":
        if isinstance(data, dict):
            return data
        if is_table:
            if len(self._inputs) > 1:
                return {name: data[name].values for name, _ in self._inputs}
            return {self._inputs[0][0]: data.values}
        if isinstance(data, importlib.import_module("numpy").ndarray):
            if len(self._inputs) != 1:
                names = ", ".join(name for name, _ in self._inputs)
                raise TypeError(f"the model has {len(self._inputs)} inputs ({names}), and the input is one array")
            return {self._inputs[0][0]: data}
        raise TypeError(f"the input must be a table, an array or arrays with names, and is {type(data)}")

    def _narrowed(self, feeds: "dict[str, Any]") -> "dict[str, Any]":
        """JSON has doubles only, and onnxruntime takes none for a float."""
        for name, kind in self._inputs:
            feed = feeds.get(name)
            if kind == "tensor(float)" and feed is not None and feed.dtype == "float64":
                feeds[name] = feed.astype("float32")
        return feeds


LOADERS = {"sklearn": _sklearn, "xgboost": _xgboost, "lightgbm": _lightgbm, "onnx": _onnx}
