"""Virtualenvs, made by virtualenv and filled by the very pip that the lock names.

pip gets directories of files in place of an index: exactly the locked ones, fetched by us beforehand and named by hash
(``--no-index --find-links --require-hashes``). What must be built is built first, into a wheel, from a directory with
its locked build requirements alone; a wheel that was built from locked files is kept and used again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from packaging.version import Version

from envbuild import faults, process, system_packages, uv
from envbuild.builders import Order
from envbuild.builders.locked_files import LockedFiles, file_name
from envbuild.builders.virtualenv import Batch, Installer, VirtualenvBuilder, timed_out
from envbuild.dated_index.index import DatedIndex
from envbuild.errors import BuildError, DownloadFailed, HashMismatch, SdistFailed
from envbuild.files import sha256_of
from envbuild.lock import BuildLock, LockedPackage
from envbuild.model import parse_instant
from envbuild.pip import running, virtualenv
from envbuild.pip.running import Call, Tools
from envbuild.progress import Report, Step, silent

# From these on: requirements as `name @ url`; builds that are apart, with any backend (PEP 517); names of platforms as
# PEP 600 has them, and musl's (PEP 656).
_URLS, _APART, _NO_ISOLATION, _PLATFORMS = Version("19.0"), Version("19.0"), Version("10.0"), Version("21.2")
_BUNDLE = (
    "import ensurepip, sysconfig; "
    "print(sysconfig.get_config_var('WHEEL_PKG_DIR') or ensurepip.__path__[0] + '/_bundled')"
)


class PipBuilder(VirtualenvBuilder):
    """Builds virtualenvs with virtualenv and pip."""

    def installer(self, order: Order, scratch: Path, report: Report) -> Installer:
        """See :class:`VirtualenvBuilder`."""
        return _PipInstaller(order, scratch, report)


class _PipInstaller:
    """pip at work on one environment."""

    def __init__(self, order: Order, scratch: Path, report: Report) -> None:
        self._order = order
        self._scratch = scratch
        self._report = report
        self._until = time.monotonic() + order.settings.build_timeout
        self._fetched: Mapping[str, Path] = {}
        self._count = 0

    def create(self) -> Mapping[str, str]:
        """See :class:`Installer`."""
        order = self._order
        built_with = (package for build in order.lock.build for package in build.packages)
        wanted = [package for package in (*order.lock.packages, *built_with) if _is_file(package)]
        self._fetched = LockedFiles(order.indexes, order.settings, self._report, self._until).fetch(wanted)
        faults.point("fetched")
        virtualenv.create(order.place, order.interpreter, order.settings, self._report)
        self._tools = self._unpacked()
        return {}

    def _unpacked(self) -> Tools:
        """The locked pip, or one that fits the Python where none is locked."""
        order = self._order
        locked = next((one for one in order.lock.packages if one.name == "pip" and one.kind == "wheel"), None)
        wheel = _seed(order) if locked is None else self._fetched[locked.sha256]
        place = self._scratch / "pip"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        version = next(place.glob("pip-*.dist-info")).name.split("-")[1].removesuffix(".dist")
        return Tools(
            python=order.place / "bin" / "python",
            interpreter=order.interpreter,
            versions={"pip": version},
            pip_tools=None,
            unpacked=place,
        )

    @property
    def _version(self) -> Version:
        return Version(self._tools.pip)

    def unpack(self, build: BuildLock, place: Path) -> None:
        """See :class:`Installer`."""
        ready = [package for package in build.packages if not package.is_built]
        self._install(self._linked(ready, {one.name: self._fetched[one.sha256] for one in ready}), place)
        if left := [package for package in build.packages if package.is_built]:
            # What they are built with themselves is there by now.
            built = {package.name: self._built(package, self._named(package), overlay=place) for package in left}
            self._install(self._linked(left, built), place)

    def install(self, batch: Batch, overlay: Path | None = None) -> None:
        """See :class:`Installer`."""
        self._report(Step("installing", f"{len(batch.packages)} packages", count=len(batch.packages)))
        commits = [package for package in batch.packages if package.kind == "vcs"]
        others = [package for package in batch.packages if package.kind != "vcs"]
        wheels = {package.name: self._wheel(package, batch, overlay) for package in others}
        if others:
            self._install(self._linked(others, wheels))
        for package in commits:
            self._install_commit(package, overlay)

    # Wheels

    def _wheel(self, package: LockedPackage, batch: Batch, overlay: Path | None) -> Path:
        """The wheel of a package that is a file or a directory: its own, or built from it."""
        local = batch.local[package.name]
        source = Path(local) if local else self._named(package)
        if not package.is_built:
            return source
        if overlay is None and batch.build is not None and self._needs_overlay(package, batch.build):
            overlay = self._scratch / f"overlay-{_key(batch.build.identity())}"
            if not overlay.exists():
                self.unpack(batch.build, overlay)
        if overlay is not None:
            return self._built(package, source, overlay=overlay)
        if batch.build is None:
            with self._index() as url:
                return self._built(package, source, index_url=url)
        return self._built_once(package, source, batch.build)

    def _needs_overlay(self, package: LockedPackage, build: BuildLock) -> bool:
        """Whether a build must see all of its build lock: it asks for less itself, or its pip cannot build it apart."""
        return package.name in build.undeclared or self._version < _APART

    def _built_once(self, package: LockedPackage, source: Path, build: BuildLock) -> Path:
        """A wheel that is built of locked files and nothing else, or the one that was built of the same before."""
        folder = self._folder("build-requirements")
        for one in build.packages:
            (folder / file_name(one)).symlink_to(self._fetched[one.sha256])
        if package.kind == "directory":
            return self._built(package, source, offered=folder)
        made_of = [package.identity(), build.identity(), self._tools.pip, self._order.interpreter.key]
        parent = self._order.settings.home / "pip" / "wheels"
        kept = parent / _key(made_of)
        with contextlib.suppress(OSError, StopIteration):
            wheel = next(kept.glob("*/*.whl"))
            if sha256_of(wheel) == wheel.parent.name:
                return wheel
        wheel = self._built(package, source, offered=folder)
        faults.point("wheel built")
        _keep(wheel, kept)
        return wheel

    def _built(
        self,
        package: LockedPackage,
        source: Path,
        *,
        offered: Path | None = None,
        index_url: str | None = None,
        overlay: Path | None = None,
    ) -> Path:
        """Build a wheel.

        :param offered: the directory that holds its build requirements.
        :param index_url: the index that has them.
        :param overlay: where they are installed: it is built among what is there then, and this before it.
        :raises SdistFailed: it cannot be built.
        """
        place = self._folder("wheel")
        self._report(Step("building", _shown(package)))
        arguments = ["wheel", "--no-deps", "--wheel-dir", str(place)]
        arguments += ["--find-links", str(offered)] if offered is not None else []
        arguments += ["--use-pep517"] if self._version >= _APART else []
        done = self._run([*arguments, *self._unisolated(overlay), *self._source(package, source)], index_url, overlay)
        found = sorted(place.glob("*.whl"))
        if done.returncode != 0 or not found:
            raise explain(done, self._tools, package)
        self._report(Step("building", _shown(package), done=True))
        return found[0]

    def _unisolated(self, overlay: Path | None) -> list[str]:
        # Pips before these know no other way.
        return ["--no-build-isolation"] if overlay is not None and self._version >= _NO_ISOLATION else []

    def _source(self, package: LockedPackage, source: Path) -> list[str]:
        """The arguments that name what is built; a file with its hash."""
        if source.is_dir():
            return [str(source / (package.subdirectory or ""))]
        part = f"#subdirectory={package.subdirectory}" if package.subdirectory else ""
        requirements = self._scratch / "source.txt"
        requirements.write_text(f"{source.as_uri()}{part} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        return ["--require-hashes", "-r", str(requirements)]

    def _install_commit(self, package: LockedPackage, overlay: Path | None) -> None:
        """Install a commit; its build requirements are not locked, and come from the model's time all the same."""
        part = f"subdirectory={package.subdirectory}" if package.subdirectory else ""
        where = f"git+{package.url}@{package.commit}"
        if self._version >= _URLS:
            line = f"{package.name} @ {where}{'#' if part else ''}{part}"
        else:
            line = f"{where}#egg={package.name}{'&' if part else ''}{part}"
        with self._index() as url:
            done = self._run(["install", *_INTO, *self._unisolated(overlay), line], url, overlay)
        if done.returncode != 0:
            raise explain(done, self._tools, package)

    @contextlib.contextmanager
    def _index(self) -> Iterator[str]:
        """The indexes as of the lock's time, for builds whose requirements nobody locked."""
        order = self._order
        cut = None if order.lock.origin.as_of in ("", "now") else parse_instant(order.lock.origin.as_of)
        default, home = uv.default_index(order.settings.home), order.settings.home
        with DatedIndex(order.indexes, default, cut=cut, home=home, offline=order.settings.offline) as index:
            yield index.url

    # Directories of wheels

    def _named(self, package: LockedPackage) -> Path:
        """A fetched file under its own name, which is how pip knows what it is."""
        place = self._folder("named") / file_name(package)
        place.symlink_to(self._fetched[package.sha256])
        return place

    def _folder(self, name: str) -> Path:
        self._count += 1
        folder = self._scratch / f"{name}-{self._count}"
        folder.mkdir()
        return folder

    def _linked(self, packages: Iterable[LockedPackage], wheels: Mapping[str, Path]) -> Path:
        """A directory of wheels with its requirement lines: the locked hashes; of what was built here, its own."""
        folder, lines = self._folder("wheels"), []
        for package in packages:
            wheel = wheels[package.name]
            name = file_name(package) if _is_file(package) and not package.is_built else wheel.name
            sha256 = package.sha256 if not package.is_built else sha256_of(wheel)
            (folder / self._understood(name)).symlink_to(wheel)
            lines.append(f"{package.name}=={name.split('-')[1]} --hash=sha256:{sha256}")
        (folder / _REQUIREMENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    def _understood(self, name: str) -> str:
        """A wheel's name as an old pip understands it: that the wheel fits here was decided when it was locked."""
        if self._version >= _PLATFORMS:
            return name
        stem, _, platform = name.removesuffix(".whl").rpartition("-")
        found = re.search(r"(?:manylinux|musllinux)(?:\d+|_\d+_\d+)_(\w+)$", platform.split(".")[-1])
        return f"{stem}-linux_{found[1]}.whl" if found else name

    def _install(self, folder: Path, target: Path | None = None) -> None:
        """Install all that lies in a directory, into the environment or another one."""
        arguments = ["install", *_INTO, "--find-links", str(folder), "--require-hashes"]
        arguments += [] if target is None else ["--target", str(target), "--upgrade"]
        done = self._run([*arguments, "-r", str(folder / _REQUIREMENTS)])
        if done.returncode != 0:
            raise explain(done, self._tools)

    def _run(
        self, arguments: Sequence[str], index_url: str | None = None, overlay: Path | None = None
    ) -> process.Completed:
        order = self._order
        temporary = self._scratch / "tmp"
        temporary.mkdir(exist_ok=True)
        call = Call(
            tools=self._tools,
            arguments=["pip", *arguments],
            settings=order.settings,
            index_url=index_url,
            cwd=self._scratch,
            timeout=max(0.1, self._until - time.monotonic()),
            # What a pip that is killed leaves behind goes with all the rest.
            environ={"TMPDIR": str(temporary), **({} if overlay is None else {"PYTHONPATH": str(overlay)})},
            needed=order.lock.size,
        )
        try:
            # Its steps are ours: what it is asked for is one thing at a time.
            return running.run(call, silent)
        except process.TimedOutWaiting:
            raise timed_out(order.settings) from None


_INTO = ("--no-deps", "--no-compile", "--ignore-installed")
_REQUIREMENTS = "requirements.txt"


def _is_file(package: LockedPackage) -> bool:
    """Whether it is a file that must be fetched."""
    return package.kind in ("wheel", "sdist") or (package.kind == "archive" and package.path is None)


def _shown(package: LockedPackage) -> str:
    return package.name if package.version is None else f"{package.name}=={package.version}"


def _key(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _keep(wheel: Path, kept: Path) -> None:
    """Keep a wheel that was built here, below its own sha256, whole or not at all."""
    own = kept.parent / f".{secrets.token_hex(8)}"
    place = own / sha256_of(wheel)
    try:
        place.mkdir(parents=True)
        shutil.copyfile(wheel, place / wheel.name)
        # One that is there was found to be damaged, or is another build's of the same.
        shutil.rmtree(kept, ignore_errors=True)
        with contextlib.suppress(OSError):
            own.rename(kept)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _seed(order: Order) -> Path:
    """The wheel of pip that a Python brings along, for a lock that has none.

    :raises BuildError: the Python has none.
    """
    done = process.run([order.interpreter.executable, "-I", "-c", _BUNDLE], env=uv.bare_environ(order.place.parent))
    found = sorted(Path(done.stdout.strip()).glob("pip-*.whl")) if done.returncode == 0 else []
    if not found:
        raise BuildError(
            f"the lock holds no pip, and Python {order.interpreter.version} brings none along",
            hint="--add pip puts one into the lock; --engine uv needs none",
        )
    return max(found, key=lambda path: Version(path.name.split("-")[1]))


_FAILURES: tuple[tuple[str, type[BuildError], str, str], ...] = (
    (
        "DO NOT MATCH THE HASHES",
        HashMismatch,
        "a file is not the one that was locked",
        "it was changed after it was fetched; envbuild cache clean, and build again",
    ),
    (
        "is not a supported wheel|No matching distribution found|Could not find a version",
        BuildError,
        "pip {pip} does not take a locked file",
        "--engine uv may; --set pip==VERSION takes another pip",
    ),
    ("", BuildError, "pip {pip} failed", "envbuild build -v says more"),
)


def explain(done: process.Completed, tools: Tools, building: LockedPackage | None = None) -> BuildError:
    """pip's failure, by what failed.

    :param building: what was to be built.
    """
    words = f"{done.stdout.rstrip()}\n{done.stderr.rstrip()}".strip()
    lines = words.splitlines()
    if words.startswith("Traceback"):
        # pip's own troubles, and those of what it runs, come after words of its own.
        return BuildError(
            f"pip {tools.pip} does not work under Python {tools.interpreter.version}",
            hint="--set pip==VERSION takes another pip; --engine uv needs none",
            details=lines[-12:],
        )
    if (
        building is not None
        and building.kind == "vcs"
        and re.search(r"\bgit (clone|fetch|checkout|rev-parse)\b", words)
    ):
        return DownloadFailed(
            f"the commit of {building.name} cannot be fetched",
            hint="is there a network, is git installed, and may you read the repository?",
            details=lines[-12:],
        )
    if building is not None and "DO NOT MATCH THE HASHES" not in words:
        return SdistFailed(
            f"the sdist of {_shown(building)} could not be built into a wheel",
            hint=system_packages.hint(words),
            details=lines[-25:],
        )
    said = " ".join(line.strip().removeprefix("ERROR: ") for line in lines if line.strip())[-400:]
    _, kind, message, hint = next(failure for failure in _FAILURES if re.search(failure[0], words))
    return kind(f"{message.format(pip=tools.pip)}: {said}", hint=hint, details=lines[-12:])
