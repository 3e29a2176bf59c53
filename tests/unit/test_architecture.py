"""The house: which room may know which, and what only one room may do."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import REPO

ROOT = REPO / "envbuild"

# From top to bottom. A room may import those in the rows below its own; never one of its own row or above.
TABLE = (
    ("__main__",),
    ("cli",),
    ("server", "spark"),
    ("__init__",),
    ("asynchronous",),
    ("api",),
    ("sharing",),
    ("bundling", "doctor", "review"),
    ("images",),
    ("batching", "environments", "resident"),
    ("pipeline",),
    ("bridge", "builders", "bundles", "inspection", "override", "resolvers", "staleness"),
    ("locations", "pip"),
    ("store",),
    ("environment", "repairs"),
    ("question", "sources"),
    ("dated_index", "interpreters"),
    ("asof", "downloads", "projects", "uv"),
    ("indexes", "spec"),
    ("flavors", "python_demand"),
    ("conda_env",),
    ("lock_files",),
    ("conda_lock", "pylock"),
    ("lock", "requirement"),
    ("conda",),
    ("sample",),
    ("model",),
    ("signature",),
    ("logins",),
    ("document", "files", "request", "settings", "system_errors"),
    ("dataframe",),
    ("arrow",),
    ("accelerator", "conversation", "target", "web"),
    (
        "conda_names",
        "errors",
        "faults",
        "process",
        "progress",
        "redaction",
        "system_packages",
        "worker",
    ),
)
ROW = {room: number for number, row in enumerate(TABLE) for room in row}

MODULES = sorted(ROOT.rglob("*.py"))
HOST_MODULES = [path for path in MODULES if path.parent.name != "worker"]
WORKER_MODULES = [path for path in MODULES if path.parent.name == "worker"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else path.stem


class Imports(ast.NodeVisitor):
    """The modules that a module imports, inside functions too, but not those under ``if TYPE_CHECKING``."""

    def __init__(self, tree: ast.AST) -> None:
        self.found: list[tuple[str, int]] = []
        self.visit(tree)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for below in node.orelse:
                self.visit(below)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, node.lineno) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = "." * node.level + (node.module or "")
        names = [f"{base}.{alias.name}" for alias in node.names] if base == "envbuild" else [base]
        self.found += [(name, node.lineno) for name in names]


def imports_of(path: Path) -> list[tuple[str, int]]:
    return Imports(ast.parse(path.read_text(), str(path))).found


def rooms_imported(path: Path) -> Iterator[tuple[str, int]]:
    for name, line in imports_of(path):
        parts = name.split(".")
        if parts[0] == "envbuild":
            # `from envbuild import __version__` names nothing but the package itself.
            room = parts[1] if len(parts) > 1 and parts[1] in ROW else "__init__"
            if room != room_of(path):
                yield room, line


def test_every_room_stands_in_the_table_once_and_every_entry_is_a_room() -> None:
    listed = [room for row in TABLE for room in row]
    assert sorted(listed) == sorted({room_of(path) for path in MODULES})


@pytest.mark.parametrize("path", HOST_MODULES, ids=name_of)
def test_imports_go_downward_only(path: Path) -> None:
    own = ROW[room_of(path)]
    wrong = [f"{name_of(path)}:{line} imports {room}" for room, line in rooms_imported(path) if ROW[room] <= own]
    assert wrong == []


@pytest.mark.parametrize("path", HOST_MODULES, ids=name_of)
def test_no_relative_imports_since_the_table_reads_whole_names(path: Path) -> None:
    assert [name for name, _ in imports_of(path) if name.startswith(".")] == []


def test_the_reader_of_imports_sees_what_it_should() -> None:
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "def f():\n    from envbuild import c, d\n    from envbuild.e import g\n    from . import h\n"
    )
    found = [name for name, _ in Imports(ast.parse(text)).found]
    assert found == ["typing", "b", "envbuild.c", "envbuild.d", "envbuild.e", "."]


def test_errors_import_no_other_room() -> None:
    assert list(rooms_imported(ROOT / "errors.py")) == []


def test_only_one_module_starts_processes() -> None:
    starting = {
        name_of(path)
        for path in MODULES
        if {name for name, _ in imports_of(path)} & {"subprocess", "multiprocessing", "pty", "_posixsubprocess"}
    }
    assert starting == {"process.py"}


def attributes_of(path: Path, module: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module
    }


def test_nobody_else_starts_or_becomes_a_process_through_os() -> None:
    pattern = re.compile(r"system|popen|fork\w*|exec\w+|spawn\w+|posix_spawn\w*|startfile")
    found = {name_of(path): {name for name in attributes_of(path, "os") if pattern.fullmatch(name)} for path in MODULES}
    assert {name: names for name, names in found.items() if names} == {
        # What comes before it in the process that becomes the worker.
        "bridge/launcher.py": {"execv"},
        "process.py": {"execve"},
        "server/container/init.py": {"fork"},
        "worker/compiling.py": {"fork"},
        "worker/lifeline.py": {"fork"},
    }


def test_only_settings_name_the_variables_of_envbuild() -> None:
    found = {}
    for path in HOST_MODULES:
        constants = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        if names := {text for text in constants if re.fullmatch(r"ENVBUILD_[A-Z_]*", text)}:
            found[name_of(path)] = names
    assert found == {
        "settings/values.py": {"ENVBUILD_"},
        # What a command in the model's environment gets, and what it does not get.
        "cli/run.py": {"ENVBUILD_", "ENVBUILD_MODEL"},
        # Which model a container serves.
        "server/container/place.py": {"ENVBUILD_MODEL"},
    }


def test_the_environment_is_read_where_the_table_of_readers_says_and_nowhere_else() -> None:
    reading = {name_of(path) for path in HOST_MODULES if attributes_of(path, "os") & {"environ", "getenv", "environb"}}
    assert reading == {
        "settings/__init__.py",  # ENVBUILD_*
        "settings/serving.py",  # likewise
        "pipeline/asking.py",  # the variables that the deployer lets a model's files name
        "locations/asking.py",  # what MLflow and object stores are asked with: all of it
        "logins.py",  # NETRC, and what the keyring and the token command are given
        "conda/session.py",  # what py-rattler is given: proxies, certificates
        "spark/batch.py",  # which Python Spark itself runs
        "uv.py",  # what uv is given: PATH, proxies, certificates
        "resolvers/building.py",  # PATH for build backends
        "bridge/environ.py",  # what a worker is given
        "cli/run.py",  # what a command is given
        "server/container/place.py",  # which model a container serves, and where it may write
        "images/inside.py",  # the variables of a building container, which is ours alone
    }


@pytest.mark.parametrize("path", WORKER_MODULES, ids=name_of)
def test_the_worker_imports_neither_envbuild_nor_anything_that_is_installed(path: Path) -> None:
    tree = ast.parse(path.read_text())
    at_start = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)], [])
    names = [name.split(".")[0] for name, _ in Imports(at_start).found if not name.startswith(".")]
    assert set(names) - sys.stdlib_module_names == set()
    assert [name for name, _ in Imports(tree).found if name.split(".")[0] == "envbuild"] == []


@pytest.mark.parametrize("path", WORKER_MODULES, ids=name_of)
def test_the_worker_is_written_in_the_syntax_of_python_3_6(path: Path) -> None:
    assert ast.parse(path.read_text(), feature_version=(3, 6)).body


def test_nobody_imports_the_worker() -> None:
    assert [name_of(path) for path in HOST_MODULES if "worker" in dict(rooms_imported(path))] == []
