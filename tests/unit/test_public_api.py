"""What users may rely on: names, signatures, and a quick start."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from samples import REPO

import envbuild

HEAVY = {
    "asyncio", "filelock", "findpython", "httpx", "importlib.metadata", "mlflow", "numpy", "packaging", "pandas",
    "pip", "platformdirs", "requests", "rich", "ssl", "tomli_w", "tomllib", "truststore", "uv", "yaml",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert envbuild.__all__ == [
        "AsyncLoadedModel",
        "EnvbuildError",
        "LoadedModel",
        "__version__",
        "batch",
        "build",
        "check",
        "diff",
        "explain",
        "export_bundle",
        "inspect",
        "load_model",
        "load_model_async",
        "lock",
        "predict",
        "pull",
        "push",
    ]
    assert dir(envbuild) == sorted(envbuild.__all__)
    assert all(getattr(envbuild, name) is not None for name in envbuild.__all__)


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = envbuild.no_such_name


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("inspect", "(model: 'str | Path', **settings: 'Any') -> 'Inspection'"),
        ("lock", "(model: 'str | Path', **settings: 'Any') -> 'Lock'"),
        ("build", "(model: 'str | Path', **settings: 'Any') -> 'Environment'"),
        (
            "check",
            "(model: 'str | Path', data: 'Any' = None, *, expected: 'Any' = None, only_overridden: 'bool' = False, "
            "tolerance: 'float' = 1e-06, absolute_tolerance: 'float' = 1e-09, **settings: 'Any') -> 'Checked'",
        ),
        (
            "explain",
            "(model: 'str | Path', package: 'str | None' = None, **settings: 'Any') -> 'Explanation'",
        ),
        (
            "diff",
            "(a: 'str | Path', b: 'str | Path', *, model: 'str | Path | None' = None, **settings: 'Any') -> 'Difference'",
        ),
        ("load_model", "(model: 'str | Path', **settings: 'Any') -> 'LoadedModel'"),
        (
            "predict",
            "(model: 'str | Path', data: 'Any', params: 'Mapping[str, Any] | None' = None, **settings: 'Any') -> 'Any'",
        ),
    ],
)
def test_the_signatures_are_these(name: str, signature: str) -> None:
    assert str(inspect.signature(getattr(envbuild, name))) == signature


def test_a_loaded_model_has_these_members() -> None:
    assert [name for name in vars(envbuild.LoadedModel) if not name.startswith("_")] == [
        "lock",
        "environment",
        "pids",
        "busy",
        "workers",
        "predict",
        "close",
    ]
    predict = (
        "(self, data: 'Any', params: 'Mapping[str, Any] | None' = None, *, content_type: 'str | None' = None) -> 'Any'"
    )
    assert str(inspect.signature(envbuild.LoadedModel.predict)) == predict
    assert {"__enter__", "__exit__"} <= set(vars(envbuild.LoadedModel))


def test_its_twin_for_asyncio_has_the_same_members() -> None:
    members = [name for name in vars(envbuild.AsyncLoadedModel) if not name.startswith("_")]
    assert members == [name for name in vars(envbuild.LoadedModel) if not name.startswith("_")]
    assert inspect.signature(envbuild.AsyncLoadedModel.predict) == inspect.signature(envbuild.LoadedModel.predict)
    assert {"__aenter__", "__aexit__"} <= set(vars(envbuild.AsyncLoadedModel))


@pytest.mark.parametrize(
    "code",
    [
        "import envbuild; envbuild.lock; found = envbuild.lock",
        "from envbuild.lock import Lock; import envbuild; found = envbuild.lock",
        "import envbuild.lock; found = envbuild.lock",
        "import envbuild; envbuild.predict; found = envbuild.lock",
        "from envbuild import lock as found",
    ],
)
def test_lock_is_the_function_whatever_was_imported_before(code: str) -> None:
    code += "\nfrom envbuild.lock import read_kept\nprint(found.__module__, found.__name__, read_kept.__module__)"
    environ = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout == "envbuild.api lock envbuild.lock\n"


def test_types_are_part_of_the_package() -> None:
    assert (Path(envbuild.__file__).parent / "py.typed").is_file()


def modules_after(code: str) -> set[str]:
    """The modules that some code imports beyond those that Python starts with."""
    listed = (
        f"import sys\nbefore = set(sys.modules)\n{code}\nprint('\\n'.join(['modules:', *set(sys.modules) - before]))"
    )
    environ = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", listed] if "envbuild.cli" not in code else [sys.executable, "-c", listed],
        capture_output=True,
        text=True,
        env=environ,
        check=True,
    )
    return set(done.stdout.partition("modules:\n")[2].split())


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "envbuild"}


def test_importing_envbuild_imports_nothing_else() -> None:
    modules = modules_after("import envbuild")
    assert own(modules) == {"envbuild"}
    assert modules & HEAVY == set()
    # `typing`, and what it needs itself.
    assert len(modules) < 45


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["lock", "--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"from envbuild.cli import main\nsys.argv[1:] = {arguments}\ntry:\n    main()\nexcept SystemExit:\n    pass"
    modules = modules_after(code)
    assert "click" in modules
    assert modules & HEAVY == set()
    assert len(own(modules)) < 10
