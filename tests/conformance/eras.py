"""The eras that are compared: an environment of each, built by envbuild, and what its MLflow knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from envbuild import pipeline
from envbuild.settings import Settings

DATETIME, OPTIONAL, PARAMS, NESTED, TENSORS, SERVER_OF_1 = (
    "datetime",
    "optional",
    "params",
    "nested",
    "tensors",
    "server-of-1.x",
)


@dataclass(frozen=True, kw_only=True)
class Era:
    """A release of MLflow, with the Python, pandas and numpy of its date."""

    mlflow: str
    python: str
    pandas: str
    numpy: str
    created: str
    knows: frozenset[str]
    """What its signatures can say."""
    says_optional: bool = False
    """Its signatures say ``optional: true``, where later ones say ``required: false``."""

    @property
    def minor(self) -> str:
        return ".".join(self.mlflow.split(".")[:2])

    @property
    def requirements(self) -> str:
        return f"mlflow=={self.mlflow}\npandas=={self.pandas}\nnumpy=={self.numpy}\n"


ERAS = MappingProxyType(
    {
        "1.14": Era(
            mlflow="1.14.1",
            python="3.8.18",
            pandas="1.2.3",
            numpy="1.20.1",
            created="2021-03-20",
            knows=frozenset({TENSORS, SERVER_OF_1}),
        ),
        "1.30": Era(
            mlflow="1.30.1",
            python="3.9.18",
            pandas="1.5.3",
            numpy="1.23.5",
            created="2023-06-20",
            knows=frozenset({TENSORS, DATETIME, SERVER_OF_1}),
        ),
        "2.9": Era(
            mlflow="2.9.2",
            python="3.10.13",
            pandas="2.1.4",
            numpy="1.26.2",
            created="2023-12-20",
            knows=frozenset({TENSORS, DATETIME, PARAMS, OPTIONAL}),
            says_optional=True,
        ),
        "2.22": Era(
            mlflow="2.22.1",
            python="3.10.13",
            pandas="2.2.3",
            numpy="2.2.6",
            created="2025-06-10",
            knows=frozenset({TENSORS, DATETIME, PARAMS, OPTIONAL, NESTED}),
        ),
        "3.17": Era(
            mlflow="3.17.2",
            python="3.11.7",
            pandas="3.1.1",
            numpy="2.4.6",
            created="2026-11-20",
            knows=frozenset({TENSORS, DATETIME, PARAMS, OPTIONAL, NESTED}),
        ),
    }
)
TODAY = "3.17"


def python_of(era: Era, folder: Path, home: Path) -> Path:
    """The Python of an era's environment, which is built if it is not there.

    :param folder: where the model that asks for it is written.
    """
    code = folder / "code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "mirror.py").write_text("", encoding="utf-8")
    (folder / "requirements.txt").write_text(era.requirements, encoding="utf-8")
    (folder / "MLmodel").write_text(
        f"""flavors:
  python_function:
    loader_module: mirror
    code: code
    python_version: {era.python}
mlflow_version: {era.mlflow}
utc_time_created: '{era.created} 12:00:00.000000'
""",
        encoding="utf-8",
    )
    settings = Settings.from_environ({}, home=home, python_downloads=False, conda_packages="map")
    built = pipeline.build(pipeline.lock(pipeline.ask(folder, settings), settings), settings)
    return built.environment.python
