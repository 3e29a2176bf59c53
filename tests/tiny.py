"""Tiny packages and models, made from nothing: what most integration tests lock, build and run."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = "3.8"
CREATED = "2021-06-15 12:00:00.000000"
BEFORE, SAME_DAY, AFTER = "2021-01-01T00:00:00Z", "2021-06-16T11:59:00Z", "2021-06-17T00:00:00Z"

# Gives back each input's value twice; knows the packages that a test put beside it by `uses`.
LOADER = """
import json, os, sys

class Twice:
    def predict(self, data):
        return [2 * value for value in data]

def _load_pyfunc(path):
    return Twice()
"""


@dataclass(frozen=True)
class File:
    """One file of an index."""

    name: str
    project: str
    content: bytes
    uploaded: str = BEFORE

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def metadata(name: str, version: str, requires: Sequence[str] = (), extras: Mapping[str, Sequence[str]] = {}) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    for extra, listed in extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {line}; extra == "{extra}"' for line in listed]
    return "\n".join(lines) + "\n"


def wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] = {},
    modules: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
    uploaded: str = BEFORE,
) -> File:
    """A wheel with one module, that of its name, which knows its version."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    texts = dict(modules) if modules is not None else {f"{stem}.py": f"version = {version!r}\n"}
    texts[f"{info}/METADATA"] = metadata(name, version, requires, extras)
    texts[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: {tag}\n"
    record = []
    for path, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}")
    texts[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in texts.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return File(f"{stem}-{version}-{tag}.whl", name, buffer.getvalue(), uploaded)


def sdist(name: str, version: str, files: Mapping[str, str], *, uploaded: str = BEFORE, pkg_info: bool = True) -> File:
    """An sdist of the files given; ``PKG-INFO`` is of metadata 2.1, so that its build has to be asked."""
    stem = f"{name.replace('-', '_')}-{version}"
    buffer = io.BytesIO()
    texts = dict(files)
    if pkg_info:
        texts["PKG-INFO"] = metadata(name, version)
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return File(f"{stem}.tar.gz", name, buffer.getvalue(), uploaded)


def setup_py(name: str, version: str, more: str = "", before: str = "") -> str:
    stem = name.replace("-", "_")
    return f"from setuptools import setup\n{before}\nsetup(name={name!r}, version={version!r}, py_modules=[{stem!r}], {more})\n"


# A build backend in a few lines, so that sdists build without setuptools: everything that is a module goes in.
BACKEND = """
import base64, hashlib, os, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return [line for line in open("asks_for.txt").read().split()] if os.path.exists("asks_for.txt") else []

def _stem():
    fields = dict(line.split(": ", 1) for line in open("PKG-INFO").read().splitlines() if ": " in line)
    return fields["Name"].replace("-", "_") + "-" + fields["Version"]

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    info = _stem() + ".dist-info"
    texts = {name: open(name).read() for name in os.listdir(".") if name.endswith(".py")}
    texts[info + "/METADATA"] = open("PKG-INFO").read()
    texts[info + "/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    texts[info + "/RECORD"] = "".join(name + ",,\\n" for name in [*texts, info + "/RECORD"])
    file = _stem() + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, file), "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return file
"""


def backend(name: str = "tiny-backend", version: str = "1.0", *, uploaded: str = BEFORE) -> File:
    """A build backend as a wheel; its module is called after it."""
    stem = name.replace("-", "_")
    return wheel(name, version, modules={f"{stem}.py": BACKEND}, uploaded=uploaded)


def pyproject(*requires: str, module: str = "tiny_backend") -> str:
    return f"[build-system]\nrequires = {json.dumps(list(requires))}\nbuild-backend = {json.dumps(module)}\n"


def own_sdist(name: str, version: str, *requires: str, uploaded: str = BEFORE, **files: str) -> File:
    """An sdist that :data:`BACKEND` builds."""
    stem = name.replace("-", "_")
    texts = {"pyproject.toml": pyproject(*(requires or ("tiny-backend",))), f"{stem}.py": f"version = {version!r}\n"}
    texts |= {path.replace("__", "."): text for path, text in files.items()}
    return sdist(name, version, texts, uploaded=uploaded)


def write_model(
    place: Path,
    *,
    pip: Sequence[str] = (),
    python: str = PYTHON,
    created: str | None = CREATED,
    loader: str = LOADER,
    build_dependencies: Sequence[str] | None = (),
    conda: Sequence[str] = (),
    more: str = "",
    flavors: str = "",
    files: Mapping[str, str | bytes] = {},
) -> Path:
    """A model with a loader module of its own and no mlflow.

    :param build_dependencies: those of its python_env.yaml; ``None``: it has none, and gets pip, setuptools, wheel.
    :param more: lines of MLmodel.
    """
    (place / "code").mkdir(parents=True, exist_ok=True)
    (place / "code" / "its_loader.py").write_text(loader)
    env = "    env: conda.yaml\n"
    if build_dependencies is not None:
        env = "    env:\n      conda: conda.yaml\n      virtualenv: python_env.yaml\n"
        python_env = {"python": python, "build_dependencies": list(build_dependencies)}
        # JSON is YAML.
        (place / "python_env.yaml").write_text(json.dumps(python_env, indent=1) + "\n")
    dependencies = "".join(f"- {line}\n" for line in (f"python={python}", *conda, "pip"))
    listed = "".join(f"  - {json.dumps(line)}\n" for line in pip)
    (place / "conda.yaml").write_text(f"dependencies:\n{dependencies}" + (f"- pip:\n{listed}" if pip else ""))
    date = "" if created is None else f"utc_time_created: '{created}'\n"
    pyfunc = f"  python_function:\n{env}    loader_module: its_loader\n    code: code\n"
    (place / "MLmodel").write_text(f"flavors:\n{pyfunc}{flavors}{date}{more}")
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return place
