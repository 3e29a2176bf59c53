"""A model: a directory with an ``MLmodel`` file, in every shape that MLflow has written since 2018.

The format is MLflow's ("MLflow Models", storage format). What is read here is what the later rooms need: the
``python_function`` flavor, the signature, when the model was made and by which MLflow. Flavors that are not known are
kept as they are. Nothing here knows environments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from envbuild import document
from envbuild.document import Node
from envbuild.errors import ModelError, ModelNotFound, NoPyfuncFlavor, Place
from envbuild.signature import Signature, read_signature

MLMODEL = "MLmodel"
PYFUNC = "python_function"
_MAX_NAME = 255
# What flavors call the file or directory that holds the model itself.
_DATA_KEYS = ("pickled_model", "model_data", "data")
# No model is older than MLflow, and a date with year 9999 stands for none.
_FIRST, _LAST = datetime(2018, 1, 1, tzinfo=timezone.utc), datetime(2200, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A text from MLmodel and the place where it stands."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that whoever reads the model should know: a disagreement, a guess, a file that is not there."""

    code: str
    message: str
    place: Place | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        place = None if self.place is None else {"file": self.place.file, "line": self.place.line}
        return {"code": self.code, "message": self.message, "place": place}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyfunc:
    """The ``python_function`` flavor: how the model is loaded and called."""

    loader_module: str
    data: str | None
    """``data``, or ``model_path`` of later releases: what the loader is given, relative to the model."""
    predict_fn: str
    code: str | None
    config: Mapping[str, Any] | None
    python_version: Said | None
    conda_env: Said | None
    """The conda.yaml that ``env`` names, as a string (1.x) or as ``{conda: …}``."""
    python_env: Said | None
    """The python_env.yaml that ``env`` names as ``{virtualenv: …}``."""
    place: Place
    data_of_flavor: str | None = None
    """Where the flavor names no data (models of early 2018): that of the flavor whose loader it names."""
    artifacts: tuple[str, ...] = ()
    """Of a Python model: its pickle and its artifacts, relative to the model. Where they once came from (``uri``) means
    nothing any more, and of ``model_code_path``, a path of whoever saved it, nothing but the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What an ``MLmodel`` file says; ``path`` is the model's directory, absolute."""

    path: Path
    flavors: Mapping[str, Mapping[str, Any]]
    flavor_places: Mapping[str, Place]
    pyfunc: Pyfunc
    signature: Signature | None
    created: datetime | None
    """In UTC. ``utc_time_created``, or the ``time_created`` of the first releases, whose zone is unknown."""
    mlflow_version: Said | None
    input_example: Path | None
    notices: tuple[Notice, ...]
    from_type_hints: bool = False
    """The signature, or the form of the input, comes from a Python model's type hints."""

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def data_path(self) -> Path:
        """What the loader is given: the flavor's data, or the model's directory where it names none."""
        return self.path if self.pyfunc.data is None else self.path / self.pyfunc.data


def read_model(path: Path | str) -> Model:
    """Read the model in a directory (or the directory of an ``MLmodel`` file that is named itself).

    :raises ModelNotFound: there is no such directory, or no MLmodel in it.
    :raises ModelUnreadable: MLmodel is not a YAML file.
    :raises NoPyfuncFlavor: the model has no ``python_function`` flavor.
    :raises ModelError: something in MLmodel has a shape that no MLflow has written, or what it names lies elsewhere.
    """
    directory = _directory(Path(path))
    root = document.read(directory / MLMODEL)
    if root.kind != "mapping" or root.get("flavors") is None:
        raise ModelError(
            "this MLmodel has no flavors; it does not describe a model",
            place=root.place,
            hint="is the path the model's own directory, and the file whole?",
        )
    flavors = _mapping(root, "flavors")
    pyfunc, notices = _pyfunc(flavors), list[Notice]()
    _check_links(directory, (pyfunc.data, pyfunc.code, pyfunc.data_of_flavor, *pyfunc.artifacts))
    return Model(
        path=directory,
        flavors={name: _flavor(node) for name, node in flavors.items()},
        flavor_places={name: node.place for name, node in flavors.items()},
        pyfunc=pyfunc,
        signature=read_signature(_optional_mapping(root, "signature")),
        created=_created(root, notices),
        mlflow_version=_said(root, "mlflow_version"),
        input_example=_input_example(root, directory),
        notices=tuple(notices),
        from_type_hints=any(_is_true(root, key) for key in ("is_signature_from_type_hint", "type_hint_from_example")),
    )


def _directory(path: Path) -> Path:
    try:
        path = path.expanduser().absolute()
        if path.name == MLMODEL and path.is_file():
            path = path.parent
        is_directory, is_model = path.is_dir(), (path / MLMODEL).exists()
    except (OSError, RuntimeError) as error:
        # No permission, a name that is too long, an unknown user's home.
        raise ModelNotFound(f"the model directory {path} cannot be looked at: {error}") from error
    if not is_directory:
        raise ModelNotFound(f"there is no model directory at {path}", hint="give the directory that holds MLmodel")
    if not is_model:
        inner = sorted(str(below.parent.relative_to(path)) for below in path.glob("*/MLmodel"))
        hint = f"did you mean one of: {', '.join(inner[:5])}?" if inner else "give the directory that holds MLmodel"
        raise ModelNotFound(f"there is no MLmodel file in {path}", hint=hint)
    return path


def _pyfunc(flavors: Node) -> Pyfunc:
    node = flavors.get(PYFUNC)
    names = [name for name, _ in flavors.items()]
    if node is None or node.kind != "mapping":
        raise NoPyfuncFlavor(
            f"the model has no {PYFUNC} flavor; it has: {', '.join(names) or 'none'}",
            place=flavors.place,
            hint="envbuild runs models through pyfunc; log the model again with a flavor that adds it",
        )
    loader = _text(node, "loader_module")
    if loader is None:
        raise ModelError(f"the {PYFUNC} flavor names no loader_module", place=node.place)
    conda_env, python_env = _env(node)
    config = _optional_mapping(node, "config")
    return Pyfunc(
        loader_module=loader,
        data=_inside(node, "data") or _inside(node, "model_path"),
        predict_fn=_text(node, "predict_fn") or "predict",
        code=_inside(node, "code"),
        config=None if config is None else config.plain(),
        python_version=_said(node, "python_version"),
        conda_env=conda_env,
        python_env=python_env,
        place=node.place,
        data_of_flavor=_data_of_flavor(flavors, loader),
        artifacts=tuple(_artifacts(node)),
    )


def _artifacts(node: Node) -> Iterator[str]:
    known = node.get("artifacts")
    listed = known.items() if known is not None and known.kind == "mapping" else ()
    for below, key in ((node, "python_model"), *((one, "path") for _, one in listed if one.kind == "mapping")):
        if (said := _inside(below, key)) is not None:
            yield said


def _check_links(directory: Path, pieces: Iterable[str | None]) -> None:
    """What MLmodel names, with all below it, lies in the model's directory, through whatever links.

    :raises ModelError: a link leads elsewhere.
    """
    top = Path(os.path.realpath(directory))
    for piece in dict.fromkeys(filter(None, pieces)):
        path = directory / piece
        below = (Path(folder, name) for folder, *names in os.walk(path) for name in chain(*names))
        for one in (path, *(found for found in below if found.is_symlink())):
            if not Path(os.path.realpath(one)).is_relative_to(top):
                raise leads_out(one)


def leads_out(link: Path) -> ModelError:
    """The error of a link in a model to what is not in it."""
    return ModelError(f"{link} is a link that leads out of the model", hint="put the file itself into the model")


def _data_of_flavor(flavors: Node, loader: str) -> str | None:
    own = flavors.get(loader.removeprefix("mlflow."))
    if own is None or own.kind != "mapping":
        return None
    return next((said for key in _DATA_KEYS if (said := _inside(own, key)) is not None), None)


def _env(node: Node) -> tuple[Said | None, Said | None]:
    """The files that ``env`` names: a string in 1.x, a mapping with one or both keys later, or nothing."""
    env = node.get("env")
    if env is None:
        return None, None
    if env.kind == "scalar":
        return _said_inside(node, "env"), None
    if env.kind != "mapping":
        raise ModelError("env is neither a file name nor {conda, virtualenv}", place=env.place)
    return _said_inside(env, "conda"), _said_inside(env, "virtualenv")


def _flavor(node: Node) -> Mapping[str, Any]:
    return node.plain() if node.kind == "mapping" else {}


def _mapping(node: Node, key: str) -> Node:
    below = node.get(key)
    if below is None or below.kind != "mapping":
        raise ModelError(f"{key} is not a mapping", place=node.place if below is None else below.place)
    return below


def _optional_mapping(node: Node, key: str) -> Node | None:
    return None if node.get(key) is None else _mapping(node, key)


def _said(node: Node, key: str) -> Said | None:
    below = node.get(key)
    if below is None:
        return None
    if below.kind != "scalar" or below.text is None:
        raise ModelError(f"{key} is not a text", place=below.place)
    return Said(text=below.text.strip(), place=below.place)


def _is_true(node: Node, key: str) -> bool:
    below = node.get(key)
    return below is not None and below.kind == "scalar" and below.value is True


def _text(node: Node, key: str) -> str | None:
    said = _said(node, key)
    return said.text if said is not None and said.text else None


def _said_inside(node: Node, key: str) -> Said | None:
    """A path of the model's own; one that leaves the model's directory is refused."""
    said = _said(node, key)
    if said is None or not said.text:
        return None
    # Models saved on Windows write backslashes.
    path = PurePosixPath(said.text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", said.text):
        raise ModelError(f"{key} is {said.text!r}, which lies outside the model's directory", place=said.place)
    if "\0" in said.text or max(map(len, said.text.encode().split(b"/"))) > _MAX_NAME:
        raise ModelError(f"{key} is no name that a file can have", place=said.place)
    return Said(text=str(path), place=said.place)


def _inside(node: Node, key: str) -> str | None:
    said = _said_inside(node, key)
    return None if said is None else said.text


def _created(root: Node, notices: list[Notice]) -> datetime | None:
    for key in ("utc_time_created", "time_created"):
        said = _said(root, key)
        if said is None:
            continue
        created = parse_instant(said.text)
        if created is not None and _FIRST <= created < _LAST:
            return created
        notices.append(
            Notice(
                code="date-unusable",
                message=f"{key} is {said.text!r}, which is no date that a model can have; it is left out of account",
                place=said.place,
            )
        )
    return None


def parse_instant(text: str) -> datetime | None:
    """An instant in the forms that MLflow and people write; without a zone it is UTC. ``None``: it is none of them."""
    match = re.fullmatch(
        r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d+))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?", text.strip()
    )
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z", "UTC") else f"{zone[:3]}:{zone[-2:]}"
    clock = clock if clock.count(":") == 2 else f"{clock}:00"
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone}").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _input_example(root: Node, directory: Path) -> Path | None:
    """The input example's file: the serving form where there is one, since that is a request as it is."""
    info = root.get("saved_input_example_info")
    if info is None or info.kind != "mapping":
        return None
    for key in ("serving_input_path", "artifact_path"):
        name = _inside(info, key)
        if name is not None and (directory / name).is_file():
            return directory / name
    return None
