"""What flavors say of the libraries that made the model, and what their loaders import (MLflow's documentation)."""

from __future__ import annotations

from collections.abc import Mapping

from packaging.version import Version

from envbuild.model import Model, Notice
from envbuild.requirement import Demand

# MLflow's flavors record the version of the library that made the model: key, and the package it belongs to.
FLAVOR_VERSIONS: Mapping[str, str] = {
    "catboost_version": "catboost",
    "cloudpickle_version": "cloudpickle",
    "fastai_version": "fastai",
    "h2o_version": "h2o",
    "keras_version": "keras",
    "lgb_version": "lightgbm",
    "onnx_version": "onnx",
    "pmdarima_version": "pmdarima",
    "prophet_version": "prophet",
    "pyspark_version": "pyspark",
    "pytorch_version": "torch",
    "sentence_transformers_version": "sentence-transformers",
    "sklearn_version": "scikit-learn",
    "spacy_version": "spacy",
    "statsmodels_version": "statsmodels",
    "transformers_version": "transformers",
    "xgb_version": "xgboost",
}


# What mlflow's loaders import: one of these must be there, and the first is added where none is.
LOADER_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "catboost": ("catboost",),
    "fastai": ("fastai",),
    "h2o": ("h2o",),
    "keras": ("keras", "tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos"),
    "lightgbm": ("lightgbm",),
    "onnx": ("onnx", "onnxruntime", "onnxruntime-gpu"),
    "pmdarima": ("pmdarima",),
    "prophet": ("prophet", "fbprophet"),
    "pytorch": ("torch", "torch-cpu"),
    "sentence_transformers": ("sentence-transformers",),
    "sklearn": ("scikit-learn", "sklearn"),
    "spacy": ("spacy",),
    "spark": ("pyspark",),
    "statsmodels": ("statsmodels",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos"),
    "transformers": ("transformers",),
    "xgboost": ("xgboost",),
}


def demands_of_flavors(model: Model, named: set[str | None], *, have_files: bool) -> list[Demand]:
    """What the flavors' own version fields ask for, in a model that has no file of requirements at all."""
    if have_files:
        return []
    return [demand for demand in versions_stated(model) if demand.name not in named]


def demands_of_loader(
    model: Model, named: set[str | None], notices: list[Notice], *, with_versions: bool
) -> list[Demand]:
    """The library of mlflow's own loader, where nobody names it: a list edited by hand, or another's.

    :param with_versions: take the version that the flavor states.
    """
    flavor = model.pyfunc.loader_module.removeprefix("mlflow.").split(".")[0]
    libraries = LOADER_LIBRARIES.get(flavor) if model.pyfunc.loader_module.startswith("mlflow.") else None
    if libraries is None or any(name in named for name in libraries):
        return []
    stated = [one for one in versions_stated(model) if one.name in libraries] if with_versions else []
    bare = Demand(text=libraries[0], kind="index", name=libraries[0], origin="flavor", place=model.pyfunc.place)
    added = stated[0] if stated else bare
    message = f"the loader {model.pyfunc.loader_module} imports {added.name} and nobody names it; {added.text} is added"
    notices.append(Notice(code="flavor-added", message=message, place=added.place))
    return [added]


def versions_stated(model: Model) -> list[Demand]:
    """The exact versions that the flavors state, as demands."""
    found = []
    for flavor, content in model.flavors.items():
        for key, name in FLAVOR_VERSIONS.items():
            version = content.get(key)
            if version is not None and _is_version(str(version)):
                place = model.flavor_places[flavor]
                found.append(Demand(text=f"{name}=={version}", kind="index", name=name, origin="flavor", place=place))
    return found


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except ValueError:
        # No version, or one with a number of thousands of digits.
        return False
    return True
