"""Copies of a Python that run at another place: for the HTTP side, and for models in a base without their Python.

Builds of CPython find their library from where their program lies; what names the old place all the same is changed:
the run path of the program (to ``$ORIGIN``), and the build's variables that ``sysconfig`` reads. Nothing that a program
at work does not need is taken along: neither tests nor static libraries, nor what was installed into it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from envbuild.builders.bytecode import cached, compile_groups
from envbuild.errors import ImageError
from envbuild.interpreters import Interpreter

_LEFT_OUT = re.compile(
    r"test|tests|idlelib|turtledemo|lib2to3|ensurepip|site-packages|dist-packages|__pycache__|config-.*"
)
_LEFT_OUT_FILES = re.compile(r".*\.(a|pyc|exe)$")


def copied(interpreter: Interpreter, target: Path, final: str, *, headers: bool, timeout: float) -> None:
    """Copy a Python's program and library to a directory, to run at ``final``.

    :param headers: whether what extensions are built with comes along.
    :param timeout: seconds for compiling its library.
    :raises ImageError: it cannot run anywhere else.
    """
    source, minor = prefix_of(interpreter), interpreter.minor
    library = source / "lib" / f"python{minor}"
    if not (library / "os.py").is_file():
        raise ImageError(f"{interpreter.executable} has no library beside it, and cannot be copied into an image")
    (target / "bin").mkdir(parents=True)
    (target / "lib").mkdir()
    program = target / "bin" / f"python{minor}"
    shutil.copyfile(interpreter.executable, program)
    program.chmod(0o755)
    for name in ("python3", "python"):
        (target / "bin" / name).symlink_to(program.name)
    _relink(program, source)
    for path in _libraries(source, minor):
        shutil.copyfile(path, target / "lib" / path.name, follow_symlinks=False)
    shutil.copytree(library, target / "lib" / library.name, ignore=_ignored, symlinks=True)
    (target / "lib" / library.name / "site-packages").mkdir()
    if headers and (include := source / "include").is_dir():
        shutil.copytree(include, target / "include", symlinks=True)
    _rename(target / "lib" / library.name, source, final)
    compile_tree(interpreter, target / "lib" / library.name, timeout)


def prefix_of(interpreter: Interpreter) -> Path:
    """The directory that a Python's ``bin`` and ``lib`` lie in."""
    return Path(interpreter.executable).parent.parent


def _libraries(source: Path, minor: str) -> Iterator[Path]:
    yield from sorted((source / "lib").glob(f"libpython{minor}*.so*"))


def _ignored(folder: str, names: Sequence[str]) -> set[str]:
    inside = os.path.isdir
    return {
        name
        for name in names
        if (_LEFT_OUT.fullmatch(name) and inside(f"{folder}/{name}")) or _LEFT_OUT_FILES.fullmatch(name)
    }


def _relink(program: Path, source: Path) -> None:
    """Let a program look for its shared library beside itself: the path in it has room for that."""
    old, new = f"{source}/lib".encode() + b"\0", b"$ORIGIN/../lib\0"
    content = program.read_bytes()
    if old not in content:
        return
    if len(new) > len(old):
        raise ImageError(f"the Python at {source} cannot be copied: its run path has no room for another")
    program.write_bytes(content.replace(old, new + bytes(len(old) - len(new))))


def _rename(library: Path, source: Path, final: str) -> None:
    """Say the new place where the build's variables say the old one."""
    for path in library.glob("_sysconfigdata*.py"):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        path.write_text(text.replace(str(source), final), encoding="utf-8", errors="surrogateescape")


def compile_tree(interpreter: Interpreter, root: Path, timeout: float) -> None:
    """Compile every source below a directory, each directory by itself, so that it is the same bytes each time.

    :raises BuildError: the compiler cannot be run.
    """
    groups = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        sources = [f"{folder}/{name}" for name in sorted(files) if name.endswith(".py")]
        groups.append([[path, cached(path, interpreter.minor), os.path.relpath(path, root)] for path in sources])
    compile_groups(interpreter.executable, groups, timeout)
