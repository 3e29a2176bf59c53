"""MLflow's releases, the last of each minor version, each with a Python and a date of its time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from envbuild import pipeline
from envbuild.errors import EnvbuildError
from envbuild.settings import Settings

_DATES = """
1.0.0 2019-06-04, 1.1.0 2019-07-23, 1.2.0 2019-08-13, 1.3.0 2019-10-01, 1.4.0 2019-10-31, 1.5.0 2019-12-20
1.6.0 2020-01-30, 1.7.2 2020-03-20, 1.8.0 2020-04-21, 1.9.1 2020-06-25, 1.10.0 2020-07-21, 1.11.0 2020-08-31
1.12.1 2020-11-19, 1.13.1 2020-12-31, 1.14.1 2021-03-01, 1.15.0 2021-03-26, 1.16.0 2021-04-26, 1.17.0 2021-05-08
1.18.0 2021-06-18, 1.19.0 2021-07-14, 1.20.2 2021-09-04, 1.21.0 2021-10-25, 1.22.0 2021-11-30, 1.23.1 2022-01-27
1.24.0 2022-02-28, 1.25.1 2022-04-13, 1.26.1 2022-05-28, 1.27.0 2022-06-29, 1.28.0 2022-08-11, 1.29.0 2022-09-19
1.30.1 2023-04-05, 2.0.1 2022-11-15, 2.1.1 2022-12-26, 2.2.2 2023-03-14, 2.3.2 2023-05-12, 2.4.2 2023-07-10
2.5.0 2023-07-17, 2.6.0 2023-08-15, 2.7.1 2023-09-17, 2.8.1 2023-11-16, 2.9.2 2023-12-14, 2.10.2 2024-02-09
2.11.3 2024-03-21, 2.12.2 2024-05-09, 2.13.2 2024-06-06, 2.14.3 2024-07-12, 2.15.1 2024-08-06, 2.16.2 2024-09-17
2.17.2 2024-10-31, 2.18.0 2024-11-18, 2.19.0 2024-12-11, 2.20.4 2025-03-13, 2.21.3 2025-04-03, 2.22.1 2025-06-06
3.0.1 2025-06-25, 3.1.4 2025-07-23, 3.2.0 2025-08-05, 3.3.2 2025-08-27, 3.4.0 2025-09-17, 3.5.1 2025-10-22
3.6.0 2025-11-07, 3.7.0 2025-12-05, 3.8.1 2025-12-26, 3.9.0 2026-01-29, 3.10.1 2026-03-05, 3.11.1 2026-04-07
3.12.0 2026-05-05, 3.13.0 2026-06-01, 3.14.0 2026-06-17, 3.15.2 2026-08-26, 3.16.1 2026-09-16, 3.17.2 2026-10-21
3.18.0 2026-11-03
"""
# The libraries whose flavors are compared, and those that may be left out where they cannot be had for a date.
_ALWAYS = ("scikit-learn", "pandas", "numpy")
_MAYBE = (("xgboost", "lightgbm", "onnx", "onnxruntime", "skops"), ("xgboost", "lightgbm", "onnx", "onnxruntime"))
_FEWER = (("xgboost", "lightgbm"), ("lightgbm",), ())


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of MLflow."""

    mlflow: str
    python: str
    created: str
    knows_skops: bool

    @property
    def minor(self) -> str:
        return ".".join(self.mlflow.split(".")[:2])


def _release(said: str) -> Release:
    version, created = said.split()
    number = tuple(map(int, version.split(".")))
    pythons = (((1, 21), "3.7.16"), ((2, 0), "3.8.18"), ((2, 9), "3.9.18"), ((3, 0), "3.10.13"))
    python = next((python for before, python in pythons if number[:2] < before), "3.11.7")
    return Release(mlflow=version, python=python, created=created, knows_skops=number >= (3, 9))


RELEASES = MappingProxyType(
    {one.minor: one for one in map(_release, _DATES.strip().replace("\n", ", ").split(", "))},
)


def python_of(release: Release, folder: Path, home: Path) -> Path:
    """The Python of a release's environment, which is built if it is not there, with all libraries that can be had.

    :param folder: where the models that ask for it are written.
    :raises EnvbuildError: not even the libraries that no flavor does without can be had.
    """
    sets = (*(_MAYBE if release.knows_skops else _MAYBE[1:]), *_FEWER)
    for number, more in enumerate(sets):
        try:
            return _built(release, (*_ALWAYS, *more), folder / str(number), home)
        except EnvbuildError:
            if not more:
                raise
    raise AssertionError(release)


def _built(release: Release, libraries: tuple[str, ...], folder: Path, home: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (f"mlflow=={release.mlflow}", "setuptools", *libraries)
    (folder / "requirements.txt").write_text("\n".join(wanted) + "\n", encoding="utf-8")
    (folder / "MLmodel").write_text(
        f"""flavors:
  python_function:
    loader_module: none
    python_version: {release.python}
mlflow_version: {release.mlflow}
utc_time_created: '{release.created} 12:00:00.000000'
""",
        encoding="utf-8",
    )
    settings = Settings.from_environ({}, home=home, python_downloads=False, conda_packages="map")
    return pipeline.build(pipeline.lock(pipeline.ask(folder, settings), settings), settings).environment.python
