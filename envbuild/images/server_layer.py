"""The layer of the HTTP side: envbuild with a Python and packages of its own, the same for all images.

It lies at ``/opt/envbuild`` and nowhere on the model's path. Its packages are locked (``server/pylock.toml``). Its Python
is a portable build that uv fetches; where that cannot be had, a copy of the Python that runs envbuild here, which needs
the base to have what it needs of the system's libraries.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuild import interpreters, target, uv
from envbuild.errors import ImageError, UsageError
from envbuild.images import portable
from envbuild.images.layer import Layer, tree, write_layer
from envbuild.images.shelf import Shelf, short_digest
from envbuild.indexes import choose
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock, requirement_line
from envbuild.progress import Report, Step
from envbuild.pylock import read_lock
from envbuild.settings import Settings

PLACE = "/opt/envbuild"
PYTHON = f"{PLACE}/python/bin/python3"
# The portable build that is asked for, by its minor version.
WANTED = "3.13"
_OLDEST = (3, 10)
_PACKAGE = Path(__file__).resolve().parent.parent
# Bytes of our own making that are not the layer's business: who installed a package, when, and from where.
_LEFT_OUT = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLayer:
    """The layer, and the key that says what is in it."""

    key: str
    layer: Layer
    interpreter: Interpreter


def server_layer(shelf: Shelf, settings: Settings, report: Report) -> ServerLayer:
    """The layer of this envbuild, from the shelf or made now.

    :raises ImageError: it cannot be made.
    """
    interpreter = _interpreter(shelf, settings, report)
    lock = server_lock(interpreter)
    key = _key(lock, interpreter)

    def make(path: Path) -> Layer:
        report(Step("packing", "the HTTP side"))
        with tempfile.TemporaryDirectory(prefix="envbuild-server-") as name:
            _fill(Path(name), interpreter, lock, settings, report)
            layer = write_layer(path, tree(Path(name), PLACE.lstrip("/")))
        report(Step("packing", "the HTTP side", done=True, bytes=layer.size))
        return layer

    layer = shelf.layer(f"server-{key}", make, report)
    return ServerLayer(key=key, layer=layer, interpreter=interpreter)


def server_lock(interpreter: Interpreter) -> Lock:
    """What the HTTP side is installed from, for one Python on this machine."""
    path = _PACKAGE / "server" / "pylock.toml"
    return read_lock(path.read_text(encoding="utf-8"), str(path), interpreter.minor, target.here(interpreter.minor))


def _key(lock: Lock, interpreter: Interpreter) -> str:
    digest = hashlib.sha256()
    program = hashlib.sha256(Path(interpreter.executable).read_bytes()).hexdigest()
    digest.update(json.dumps([lock.hash, interpreter.key, program]).encode())
    for path in _sources():
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    """envbuild's own files."""
    for path in sorted(_PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and "templates" not in path.parts:
            yield path


def _interpreter(shelf: Shelf, settings: Settings, report: Report) -> Interpreter:
    """The Python of the HTTP side: the one that was chosen before, as long as it is there."""
    asked = settings.server_python
    kept = shelf.note(f"server-python-{short_digest(asked)}").path
    if (known := interpreters.read_kept(kept)) is not None:
        return known
    chosen = _chosen(asked, settings, report)
    if tuple(int(part) for part in chosen.minor.split(".")) < _OLDEST:
        raise UsageError(f"the HTTP side needs Python 3.10 or later; {chosen.executable} is {chosen.version}")
    interpreters.keep(kept, chosen)
    return chosen


def _chosen(asked: str | None, settings: Settings, report: Report) -> Interpreter:
    if asked is not None and interpreters.is_path(asked):
        return interpreters.at_path(asked)
    if settings.python_downloads and not settings.offline:
        path = uv.managed_python(asked or WANTED, settings, report)
        found = None if path is None else interpreters.probe(path)
        if found is not None:
            return found
    if asked is not None:
        return interpreters.find(asked, settings, report)
    own = interpreters.probe(Path(sys.executable))
    if own is None:
        raise ImageError(f"{sys.executable} cannot be copied into an image", hint="set ENVBUILD_SERVER_PYTHON")
    return own


def _fill(root: Path, interpreter: Interpreter, lock: Lock, settings: Settings, report: Report) -> None:
    """Make the layer's content: a Python, the locked packages, and our own sources."""
    python = root / "python"
    portable.copied(interpreter, python, f"{PLACE}/python", headers=False, timeout=settings.build_timeout)
    site = python / "lib" / f"python{interpreter.minor}" / "site-packages"
    _install(lock, interpreter, site, settings, report)
    for path in _sources():
        place = site / "envbuild" / path.relative_to(_PACKAGE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    portable.compile_tree(interpreter, site, settings.build_timeout)


def _install(lock: Lock, interpreter: Interpreter, site: Path, settings: Settings, report: Report) -> None:
    indexes, _ = choose(settings, (), "")
    lines = site.parent / "requirements.txt"
    lines.write_text("".join(f"{requirement_line(package, '')}\n" for package in lock.packages), encoding="utf-8")
    arguments = ["pip", "install", "--python", interpreter.executable, "--target", str(site), "--no-deps"]
    arguments += ["--requirements", str(lines), "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"]
    done = uv.run(uv.Call(arguments=arguments, settings=settings, indexes=indexes), report)
    lines.unlink()
    if done.returncode != 0:
        raise ImageError(
            "the packages of the HTTP side cannot be installed",
            hint="they come from the index that you use (--index-url): has it them?",
            details=done.stderr.splitlines()[-12:],
        )
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)
    for folder in site.glob("*.dist-info"):
        for name in _LEFT_OUT:
            (folder / name).unlink(missing_ok=True)
