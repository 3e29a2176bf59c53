"""Loading: from what ``load`` says to an object that predicts."""

import gc
import importlib
import importlib.util
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# Where mlflow holds the input against the signature, by the names of its functions since 1.9.
ENFORCEMENT = ("_enforce_", "_validate_prediction_input", "_validate_data_against_type_hint", "_convert_data_to_type")
# The releases of mlflow that put the folders in a model's code on the path, and the first that knows signatures.
FOLDERS_SINCE, FOLDERS_UNTIL, KNOWS_SIGNATURES = (1, 26), (2, 1), (1, 9)
# Since this one requests have params, which are ignored where the signature has none.
KNOWS_PARAMS = (2, 6)


class Mismatch(Exception):
    """The input does not fit the model's signature."""


class Loaded:
    """A model that predicts, however it was loaded."""

    def __init__(
        self,
        predict: "Callable[..., Any]",
        enforces: bool,
        takes_raw_inputs: bool = False,
        release: "tuple[int, ...] | None" = None,
        ignores_params: bool = False,
    ) -> None:
        """
        :param predict: called with the data, and with ``params`` where the request has them.
        :param enforces: whether nobody else need hold the input against the signature.
        :param takes_raw_inputs: its signature came from type hints, so ``inputs`` is passed as it is.
        :param release: the mlflow whose rules our own enforcing follows; ``None``: today's.
        """
        self._predict = predict
        self.enforces = enforces
        self.takes_raw_inputs = takes_raw_inputs
        self.release = release
        self._ignores_params = ignores_params

    def predict(self, data: "Any", params: "dict[str, Any] | None") -> "Any":
        """Predict; ``params`` are passed only when the request has some, or the signature's defaults.

        :raises Mismatch: ``params`` for a ``predict`` without them.
        """
        if params and self._ignores_params:
            sys.stderr.write("envbuild: the signature has no params; ignored: {}\n".format(", ".join(map(str, params))))
            params = {}
        if params is None:
            return self._predict(data)
        if not _accepts(self._predict, "params"):
            if not params:
                return self._predict(data)
            raise Mismatch("the request has params, and this model's predict takes none")
        return self._predict(data, params=params)


def loader_name() -> str:
    """Which loader this environment has, found without importing anything."""
    return "mlflow" if importlib.util.find_spec("mlflow") else "loader_module"


def load(order: "dict[str, Any]") -> Loaded:
    """Load the model: by the environment's own mlflow; without it, where there is none or none is wanted."""
    # No release of mlflow loads a pyfunc flavor that does not say where the model is.
    if loader_name() == "mlflow" and not order.get("direct"):
        pyfunc = importlib.import_module("mlflow.pyfunc")
        # In the releases of 2018 it had another name; the path is positional since its keyword has changed as well.
        loader = getattr(pyfunc, "load_model", None) or getattr(pyfunc, "load_pyfunc", None)
        if loader is not None:
            return _from_mlflow(loader(order["model"]), order)
    return _by_loader_module(order)


def _from_mlflow(model: "Any", order: "dict[str, Any]") -> Loaded:
    metadata = getattr(model, "metadata", None)
    from_hints = getattr(metadata, "_is_signature_from_type_hint", None)
    name = order.get("predict_fn") or "predict"
    # Before 1.4 mlflow gave back whatever the flavor's loader made, and before 1.9 it knew no signatures.
    looks = metadata is not None and hasattr(metadata, "get_input_schema")
    if looks and order.get("enforce", True):
        predict = model.predict
    else:
        # Behind mlflow's own look at the input stands what the flavor's loader made.
        predict = _predict_of(getattr(model, "_model_impl", model) if looks else model, name)
    # What that mlflow does not look at was not looked at in its time.
    return Loaded(predict, enforces=True, takes_raw_inputs=bool(from_hints and from_hints()))


def _by_loader_module(order: "dict[str, Any]") -> Loaded:
    release = _release(order)
    if order.get("code"):
        _put_code_on_path(os.path.join(order["model"], order["code"]), release)
    model = _by_flavor(order, release) if order.get("flavor") else _by_module(order)
    predict = _predict_of(model, order.get("predict_fn") or "predict")
    enforces = release is not None and release < KNOWS_SIGNATURES  # in its time nobody looked
    has_params = bool((order.get("signature") or {}).get("params")) or not order.get("enforce", True)
    ignores = release is not None and release >= KNOWS_PARAMS and not has_params
    return Loaded(predict, enforces=enforces, release=release, ignores_params=ignores)


def _release(order: "dict[str, Any]") -> "tuple[int, ...] | None":
    """The mlflow that would have loaded the model: its first two numbers."""
    said = order.get("mlflow")
    return tuple(int(part) for part in said.split(".")) if said else None


def _by_flavor(order: "dict[str, Any]", release: "tuple[int, ...] | None") -> "Any":
    from . import flavors  # most workers never need it

    # Thousands of classes and functions are made, and none of them is garbage: looking is a tenth of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return flavors.load(order, release)
    finally:
        if was_enabled:
            gc.enable()


def _by_module(order: "dict[str, Any]") -> "Any":
    module = importlib.import_module(order["loader_module"])
    loader = getattr(module, "_load_pyfunc", None) or getattr(module, "load_pyfunc", None)
    if loader is None:
        raise ImportError("the loader module {!r} has no _load_pyfunc".format(order["loader_module"]))
    data = os.path.join(order["model"], order["data"]) if order.get("data") else order["model"]
    config = order.get("config")
    return loader(data, config) if config and _accepts(loader, "model_config") else loader(data)


def _put_code_on_path(folder: str, release: "tuple[int, ...] | None") -> None:
    """The model's code goes before everything else; then the folders directly in it, where that mlflow put them there.

    Where nobody knows which it was, those that are no packages.
    """
    below = []  # type: list[str]
    if release is None or FOLDERS_SINCE <= release < FOLDERS_UNTIL:
        below = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir() and entry.name != "__pycache__")
    if release is None:
        below = [path for path in below if not os.path.exists(os.path.join(path, "__init__.py"))]
    sys.path[:0] = [folder, *below]


def _predict_of(model: "Any", name: str) -> "Callable[..., Any]":
    predict = getattr(model, name, None)
    if predict is None and callable(model):
        predict = model
    if predict is None:
        raise TypeError(f"the loader gave a {type(model).__name__}, which has no {name} and cannot be called")
    return predict  # type: ignore[no-any-return]


def _accepts(function: "Callable[..., Any]", name: str) -> bool:
    import inspect  # only now: it takes a tenth of the worker's start

    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # built in C, without a signature to read
        return False
    return name in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def is_enforcement(error: "BaseException | None") -> bool:
    """Whether an exception from ``predict`` comes from mlflow's look at the input, before the model was asked.

    Told by its way through mlflow: from ``predict`` to the enforcing function every frame must be mlflow's, so that a
    model which itself asks another mlflow model is not taken for one. In some releases ``predict`` itself says in other
    words what it was told; then the way is that of the exception before it.
    """
    mlflow = sys.modules.get("mlflow")
    home = os.path.dirname(getattr(mlflow, "__file__", None) or "")
    while home and error is not None:
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename.startswith(home + os.sep):
                if code.co_name.startswith(ENFORCEMENT):
                    return True
            elif trace.tb_frame.f_globals.get("__package__") != __package__:
                return False
            trace = trace.tb_next
        error = error.__context__
    return False
