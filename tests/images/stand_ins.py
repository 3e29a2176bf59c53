"""Base images that stand in for the official ones, which cannot be had here: Debian by debootstrap, and a local CPython.

The images stay with the daemon between runs, and the Debian beside the shared store.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker
from docker.errors import ImageNotFound
from kit import REPO

from envbuild import interpreters
from envbuild.images.portable import prefix_of
from envbuild.settings import Settings

# What the Pythons of this machine were linked with, and a slim image of Python has as well.
_LIBRARIES = {
    "bookworm": "ca-certificates libssl3 libffi8 libexpat1 libncursesw6 libreadline8 libsqlite3-0 libtirpc3",
    "trixie": "ca-certificates libssl3t64 libffi8 libexpat1 libncursesw6 libreadline8t64 libsqlite3-0 libtirpc3t64",
}
_LEFT_OUT = ("site-packages/", "/test/", "__pycache__", "/share/")
NAMES = "envbuild-tests"


def docker_program() -> str:
    """The client that came with the daemon: another one may want a builder that is not here."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def run_docker(
    *words: str | Path, stdin: bytes = b"", check: bool = True, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    argv = [docker_program(), *map(str, words)]
    done = subprocess.run(
        argv, input=stdin, capture_output=True, check=False, env={**os.environ, **environ}, timeout=600
    )
    assert not check or done.returncode == 0, (argv, done.stderr.decode())
    return done


def _there(name: str) -> bool:
    client = docker.from_env()
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    finally:
        client.close()
    return True


def debian(release: str = "bookworm", *, cached: bool = True) -> str:
    """A Debian with certificates and the libraries that a Python needs; gives its name."""
    name = f"{NAMES}/debian:{release}"
    if cached and _there(name):
        return name
    root = REPO / ".cache" / f"debian-{release}"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", release, root], check=True, capture_output=True, timeout=600)
    script = f"apt-get update -q && apt-get install -q -y --no-install-recommends {_LIBRARIES[release]}"
    subprocess.run(["chroot", root, "sh", "-c", script], check=True, capture_output=True, timeout=600)
    for name_of_cache in ("var/lib/apt/lists", "var/cache/apt"):
        shutil.rmtree(root / name_of_cache)
    packed = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True, timeout=600)
    run_docker("import", "-", name, stdin=packed.stdout)
    shutil.rmtree(root)
    return name


def python(minor: str, release: str = "bookworm") -> str:
    """A Debian with this machine's CPython of a minor version at its own path, on the image's PATH; gives its name."""
    name = f"{NAMES}/python:{minor}-{release}"
    if _there(name):
        return name
    found = interpreters.find(
        minor, Settings.from_environ({}, home=REPO / ".cache" / "test-home", python_downloads=False)
    )
    prefix = prefix_of(found)
    context = REPO / ".cache" / f"python-{minor}-{release}"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    with tarfile.open(context / "python.tar", "w") as tar:
        tar.add(found.executable, found.executable.lstrip("/"))
        for part in ("lib", "include"):
            tar.add(prefix / part, str(prefix / part).lstrip("/"), filter=_kept)
    above = " ".join(str(path) for path in list(prefix.parents)[:-1])
    (context / "Dockerfile").write_text(
        f"FROM {debian(release)}\nADD python.tar /\n"
        f"RUN chmod a+rx {above} && ln -s python{minor} {prefix}/bin/python3\n"
        f"ENV PATH={prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    )
    run_docker("build", "--quiet", "--network", "host", "--tag", name, context, DOCKER_BUILDKIT="0")
    shutil.rmtree(context)
    return name


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = f"{member.name}/" if member.isdir() else member.name
    if "site-packages/" in path and not path.endswith("site-packages/"):
        return None
    return None if any(part in path for part in _LEFT_OUT[1:]) else member
