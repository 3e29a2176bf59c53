"""Models from the wild: what their files say is locked as of their time, and what is locked can be imported.

Only the files that decide the environment are here, no weights. ``benchmarks/corpus.py`` does the same for any number
of them; ``docs/reconstruction.md`` has its table.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kit import REPO, cli, cli_environ

CORPUS = REPO / "tests" / "models" / "corpus"
_IMPORT_SECONDS = 300.0

# Locked, built and imported: the repairs that each needs.
BUILT = {
    "026": {"wheels-first"},
    "054": set[str](),
    "067": {"dummy-package", "numba-bound"},
    "073": set[str](),
    "079": {"younger-pin"},
    "112": set[str](),
}
# Locked alone, since they are large: the repairs, and a package that shows them.
LOCKED = {
    "019": ({"local-version"}, ("torch", "1.9.0")),
    "086": ({"foreign-platform"}, ("tensorflow", "2.13.0")),
    "131": ({"younger-pin", "younger-need"}, ("mlflow", "3.10.1")),
}
# They pin what is no more, or a Python that is not run: only with consent.
WITH_CONSENT = {
    "015": ("nearest-release", "lock-unresolvable", ("tensorflow", "2.4.0")),
    "180": ("python-too-old", "python-not-found", ("scikit-learn", "0.24.2")),
}


def repairs_of(answer: dict[str, Any]) -> set[str]:
    from envbuild.repairs.rules import RULES

    return {notice["code"] for notice in answer["notices"]} & RULES.keys()


def versions_of(answer: dict[str, Any]) -> dict[str, str]:
    return {package["name"]: package["version"] for package in answer["packages"]}


def asked(command: str, model: str, home: Path, *options: str) -> dict[str, Any]:
    done = cli(command, CORPUS / model, "--json", *options, environ=cli_environ(home))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


# Some of them with the others; all take minutes to build.
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(one, marks=pytest.mark.soak if one in ("054", "073", "079", "112") else pytest.mark.slow)
        for one in BUILT
    ],
)
def test_a_small_model_from_the_wild_is_locked_and_built_and_imports_its_loader(model: str, shared_home: Path) -> None:
    locked = asked("lock", model, shared_home)
    assert repairs_of(locked) - {"conda-tool"} == BUILT[model], locked["notices"]
    built = asked("build", model, shared_home)
    loader = asked("inspect", model, shared_home)["model"]["loader_module"]
    python = Path(built["path"]) / "bin" / "python"
    for module in ("mlflow", loader if loader.startswith("mlflow.") else "mlflow.pyfunc"):
        done = subprocess.run(
            [python, "-I", "-c", f"import {module}"],
            env={},
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("model", LOCKED)
def test_a_large_model_from_the_wild_is_locked_by_its_repairs(model: str, shared_home: Path) -> None:
    repairs, (name, version) = LOCKED[model]
    answer = asked("lock", model, shared_home)
    assert repairs_of(answer) == repairs
    assert versions_of(answer)[name] == version


@pytest.mark.slow
@pytest.mark.parametrize("model", WITH_CONSENT)
def test_what_the_model_pins_is_changed_with_consent_alone(model: str, shared_home: Path) -> None:
    rule, code, (name, version) = WITH_CONSENT[model]
    refused = asked("lock", model, shared_home)
    assert refused["error"]["code"] == code
    assert f"--allow-repair {rule}" in refused["error"]["hint"]
    answer = asked("lock", model, shared_home, "--allow-repair", rule)
    assert rule in repairs_of(answer)
    assert versions_of(answer)[name] == version


def test_what_is_no_model_gets_an_exact_error(shared_home: Path) -> None:
    error = asked("lock", "175", shared_home)["error"]
    assert error["code"] == "model-invalid"
    assert "no flavors" in error["message"]
