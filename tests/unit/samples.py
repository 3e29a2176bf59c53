"""Real models, and models in a few lines, for the tests of the rooms that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envbuild.errors import Place
from envbuild.model import Model, Notice, read_model
from envbuild.requirement import Lines, Reading, read_line
from envbuild.spec import EnvironmentSpec, read_spec

REPO = Path(__file__).resolve().parents[2]
MODELS = REPO / "tests" / "models"
ERAS = ("py36_mlflow1_2", "py38_mlflow1_30", "py38_mlflow2_1", "py310_mlflow2_17", "py311_mlflow3_17")
ERA_MODELS = sorted(path.parent for era in ERAS for path in (MODELS / era).glob("*/MLmodel"))
CORPUS = sorted(path.parent for path in (MODELS / "corpus").glob("*/MLmodel"))

# A python_function flavor with nothing but a loader, made on a day of 2021.
PLAIN = """\
utc_time_created: '2021-06-15 12:00:00.000000'
flavors:
  python_function:
    loader_module: own.loader
"""
WITH_CONDA = PLAIN + "    env: conda.yaml\n"
WITH_BOTH = PLAIN + "    env:\n      conda: conda.yaml\n      virtualenv: python_env.yaml\n"


def write(folder: Path, mlmodel: str | bytes = PLAIN, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A model's directory with these files."""
    for name, content in {"MLmodel": mlmodel, **(files or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def model_of(folder: Path, mlmodel: str | bytes = PLAIN, files: Mapping[str, str | bytes] | None = None) -> Model:
    return read_model(write(folder, mlmodel, files))


def spec_of(
    folder: Path,
    mlmodel: str | bytes = PLAIN,
    files: Mapping[str, str | bytes] | None = None,
    expand: Mapping[str, str] | None = None,
) -> EnvironmentSpec:
    return read_spec(model_of(folder, mlmodel, files), expand)


def pip_list(*lines: str, python: str = "3.8.5") -> str:
    """A conda.yaml with a pip list."""
    listed = "".join(f"  - '{line}'\n" for line in lines)
    return f"dependencies:\n- python={python}\n- pip:\n{listed}"


def asked_for(spec: EnvironmentSpec, *, built: bool = False) -> list[str]:
    """The demands' texts; what every environment has only where it is wanted."""
    return [demand.text for demand in spec.demands if built or demand.place is not None]


def codes(notices: Iterable[Notice]) -> list[str]:
    return [notice.code for notice in notices]


def line_of(folder: Path, line: str, expand: Mapping[str, str] | None = None) -> Lines:
    """One line of the requirements.txt of the model in a folder."""
    reading = Reading(model=folder, expand=expand or {})
    return read_line(line, Place(str(folder / "requirements.txt"), 7), reading)
