"""What the server needs, by its lock: for every Python and platform of an image, and with nothing else installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import REPO, SERVE, SERVE_HERE, Server, body
from packaging.utils import canonicalize_name

from envbuild import interpreters, uv
from envbuild.lock import write_requirements
from envbuild.pylock import read_lock
from envbuild.settings import Settings
from envbuild.target import Target, here

LOCK = REPO / "envbuild" / "server" / "pylock.toml"
WANTED = {"httptools", "prometheus-client", "starlette", "uvicorn", "pyyaml", "packaging", "tomli-w"}
# The oldest glibc of an image that is still looked after.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64")


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_there_is_one_wheel_a_package_for_every_python_and_platform(python: str, platform: str) -> None:
    target = Target(f"cp{python.replace('.', '')}", platform)
    found = read_lock(LOCK.read_text(), LOCK.name, python, target)
    names = {package.name for package in found.packages}
    assert names >= WANTED
    assert ("tomli" in names) == (python == "3.10")
    assert {package.kind for package in found.packages} == {"wheel"}
    assert all(re.fullmatch("[0-9a-f]{64}", package.sha256) for package in found.packages)


def test_the_lock_names_files_alone() -> None:
    text = LOCK.read_text()
    assert re.findall(r"^(?:index|sdist|vcs|directory|archive)\b", text, re.MULTILINE) == []
    urls = re.findall(r'url = "([^"]*)"', text)
    assert urls
    assert all(url.endswith(".whl") for url in urls)
    assert re.findall(r"-cp31[4-9]|macosx|win32|win_amd64|musllinux", "".join(urls)) == []


def test_the_lock_says_how_it_was_made() -> None:
    comment = "".join(line for line in LOCK.read_text().splitlines() if line.startswith("#"))
    assert "uv pip compile" in comment
    for line in re.findall(r"'([a-z-]+)>=", comment):
        assert canonicalize_name(line) in WANTED | {"tomli"}


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory, shared_home: Path) -> Path:
    """Python 3.10 with what the lock names, and envbuild's sources."""
    settings = Settings.from_environ({}, home=shared_home, python_downloads=False, conda_packages="map")
    base = interpreters.find("3.10", settings)
    venv = tmp_path_factory.mktemp("server-python") / "venv"
    uv_program = uv.binary()
    known = {"PATH": os.environ["PATH"], "HOME": str(venv.parent), "UV_CACHE_DIR": str(shared_home / "uv")}
    known |= {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    lines = venv.parent / "requirements.txt"
    lines.write_text(write_requirements(read_lock(LOCK.read_text(), "the lock", "3.10", here("3.10"))))
    for words in (
        ("venv", "--no-config", "--python", base.executable, venv),
        ("pip", "sync", "--no-config", "--require-hashes", "--python", venv / "bin" / "python", lines),
    ):
        subprocess.run([str(uv_program), *map(str, words)], env=known, check=True, capture_output=True, timeout=300)
    (packages,) = venv.glob("lib/python3.10/site-packages")
    (packages / "envbuild.pth").write_text(f"{REPO}\n")
    return venv / "bin" / "python"


def test_nothing_else_is_installed(python: Path) -> None:
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    wanted = {canonicalize_name(name) for name in re.findall(r'^name = "(.*)"', LOCK.read_text(), re.MULTILINE)}
    assert {canonicalize_name(name) for name in done.stdout.split()} == wanted


def test_a_model_is_served_with_the_locks_packages_alone(
    python: Path, start: Callable[..., Server], environment: Path, model: Path
) -> None:
    server = start([python, "-I", SERVE_HERE, environment, model, environment / "none", *SERVE])
    assert server.predict("echo", 1).predictions == ["echo", 1]
    assert server.ask("POST", "/invocations", b"{", "application/json").status == 400
    done = subprocess.run([python, "-I", "-m", "envbuild.server", "health", "--port", str(server.port)], check=False)
    assert done.returncode == 0
    server.process.terminate()
    assert server.wait() == 0
    assert "Traceback" not in server.stderr


def test_a_mounted_model_is_checked_and_predicted_with_there(
    python: Path, environment: Path, model: Path, tmp_path: Path
) -> None:
    argv = [python, "-I", SERVE_HERE, environment, tmp_path / "none", model, "predict"]
    done = subprocess.run(list(map(str, argv)), input=body("echo"), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"predictions": ["echo"]}


def test_as_an_image_calls_it_a_missing_model_is_said(python: Path, tmp_path: Path) -> None:
    argv = [str(python), "-I", "-m", "envbuild.server", "serve"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 3
    assert "neither /mnt/models nor /opt/ml/model has a file MLmodel" in done.stderr


def test_click_is_not_needed_by_our_own_code() -> None:
    sources = "".join(path.read_text() for path in (REPO / "envbuild" / "server").glob("*.py"))
    assert re.findall(r"^\s*(?:import|from) click", sources, re.MULTILINE) == []
