"""What goes wrong around images: each a clear error, and nothing left behind (the fixture `nothing_left` looks)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from containers import predicted, shell
from kit import AS_NOBODY, REPO, cli
from local_index import LocalIndex
from stand_ins import run_docker
from test_image_building import MakeModel, image
from tiny import sdist, setup_py, wheel

from envbuild import interpreters
from envbuild.errors import ImageError
from envbuild.images.daemon import Daemon
from envbuild.images.daemon_errors import explained
from envbuild.images.verification import verified
from envbuild.settings import Settings


def test_no_daemon_is_said(make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]) -> None:
    environ = {**image_environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    done = cli("image", make_model(), environ=environ)
    assert done.returncode == 5
    assert "error[docker-unavailable]" in done.stderr
    assert "DOCKER_HOST" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can be somebody else")
def test_no_permission_is_said(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    model = make_model()
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    shutil.rmtree(image_environ["ENVBUILD_HOME"])
    home = tmp_path / "nobodys"
    home.mkdir()
    os.chown(home, 65534, 65534)
    argv = [*AS_NOBODY, sys.executable, "-m", "envbuild", "image", str(model)]
    environ = {**image_environ, "ENVBUILD_HOME": str(home), "HOME": str(home)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5
    assert "error[docker-unavailable]" in done.stderr
    assert "may not talk to" in done.stderr


@pytest.mark.slow
def test_no_network_in_the_building_container_is_said(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    done = cli("image", make_model(pip=["fruit"]), "--network", "none", environ=image_environ)
    assert done.returncode == 5
    assert "error[build-download-failed]" in done.stderr
    assert "--network" in done.stderr


def test_a_file_that_is_not_the_locked_one_stops_the_build(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    fruit = wheel("fruit", "1.0")
    local_index.add(fruit)
    model = make_model(pip=["fruit"])
    assert cli("lock", model, environ=image_environ).returncode == 0
    local_index.served[fruit.name] = wheel("fruit", "1.0", modules={"fruit.py": "bad = 1"}).content
    done = cli("image", model, environ=image_environ)
    assert done.returncode == 5
    assert "error[build-hash-mismatch]" in done.stderr


def test_an_unknown_base_is_said(make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]) -> None:
    done = cli("image", make_model(), "--base-image", "127.0.0.1:9/no/such:1", environ=image_environ)
    assert done.returncode == 5
    assert "error[image-base-unusable]" in done.stderr
    done = cli("image", make_model("m2"), "--base-image", "127.0.0.1:9/no/such:1", "--offline", environ=image_environ)
    assert "docker pull" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-t", "UPPER:1"], "small letters"),
        (["--label", "novalue"], "KEY=VALUE"),
        (["--push"], "-t REGISTRY/NAME:TAG"),
        (["--push", "-t", "plain:1"], "names no registry"),
    ],
)
def test_wrong_options_are_refused_before_the_work_begins(
    make_model: MakeModel, image_environ: dict[str, str], options: list[str], said: str
) -> None:
    done = cli("image", make_model(), *options, environ=image_environ)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_full_disk_of_the_daemon_is_said() -> None:
    from docker.errors import APIError

    with pytest.raises(ImageError, match="disk is full") as caught, explained():
        raise APIError("", None, "write /layer.tar: no space left on device")
    assert "docker system df" in str(caught.value.hint)


def test_verify_finds_a_package_that_was_changed_inside(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    made = image(make_model(pip=["fruit"]), environ=image_environ)
    done = cli("verify", made["image"], "--json", environ=image_environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"][0]["lock_hash"] == made["lock_hash"]
    module = "/opt/environment/lib/python3.8/site-packages/fruit.py"
    text = f"FROM {made['image']}\nUSER 0:0\nRUN echo 'version = 2' > {module} && touch /opt/ml/model/new\nUSER 10001:10001\n"
    run_docker("build", "--quiet", "--tag", "envbuild-test-changed:1", "-", stdin=text.encode(), DOCKER_BUILDKIT="0")
    done = cli("verify", "envbuild-test-changed:1", environ=image_environ)
    assert done.returncode == 5
    assert "error[environment-damaged]" in done.stderr
    assert "fruit.py has" in done.stderr
    assert "/opt/ml/model has the digest" in done.stderr


@pytest.mark.slow
def test_verify_of_an_upgraded_package_names_both_versions(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    made = image(make_model(pip=["fruit"]), environ=image_environ)
    site = "/opt/environment/lib/python3.8/site-packages"
    text = f"FROM {made['image']}\nUSER 0:0\nRUN mv {site}/fruit-1.0.dist-info {site}/fruit-2.0.dist-info\n"
    run_docker("build", "--quiet", "--tag", "envbuild-test-upgraded:1", "-", stdin=text.encode(), DOCKER_BUILDKIT="0")
    found = verified("envbuild-test-upgraded:1", lambda step: None)
    assert "fruit is 2.0 and is locked as 1.0" in [str(finding) for finding in found.findings]


def test_verify_of_what_envbuild_did_not_make_is_refused(image_environ: dict[str, str], base: str) -> None:
    done = cli("verify", base, environ=image_environ)
    assert done.returncode == 5
    assert "envbuild has not made it" in done.stderr
    done = cli("verify", "no-such-image:1", environ=image_environ)
    assert done.returncode == 2


def test_a_daemon_says_who_it_is() -> None:
    with Daemon.connect() as daemon:
        assert daemon.version


@pytest.mark.slow
def test_a_compiler_that_a_build_needs_is_got_for_it_and_not_kept(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], build_tools: tuple[object, ...]
) -> None:
    local_index.add(*build_tools)  # type: ignore[arg-type]
    local_index.add(
        sdist(
            "quick",
            "1.0",
            {
                "setup.py": setup_py(
                    "quick",
                    "1.0",
                    "ext_modules=[Extension('quick_c', ['quick.c'])]",
                    "from setuptools import Extension",
                ),
                "quick.py": "import quick_c\n",
                "quick.c": '#include <Python.h>\nstatic struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "quick_c"};\n'
                "PyMODINIT_FUNC PyInit_quick_c(void) { return PyModule_Create(&m); }\n",
            },
        )
    )
    made = image(make_model(pip=["quick"], loader="import quick\n" + _LOADER), environ=image_environ)
    assert predicted(made["image"], b'{"inputs": [1]}') == {"predictions": [2]}
    assert shell(made["image"], "command -v gcc; true") == ""


_LOADER = (
    "def _load_pyfunc(path):\n    return type('Twice', (), {'predict': lambda self, data: [2 * x for x in data]})()\n"
)


@pytest.mark.slow
def test_what_a_killed_call_leaves_the_next_one_takes_away(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    model = make_model(pip=["fruit"])
    assert cli("lock", model, environ=image_environ).returncode == 0
    local_index.open.clear()
    argv = [sys.executable, "-m", "envbuild", "image", str(model)]
    call = subprocess.Popen(argv, env=image_environ, stdout=-1, stderr=-1)
    listing = ("ps", "--all", "--quiet", "--filter", "label=envbuild.working")
    assert local_index.waiting.wait(60)
    call.kill()
    call.communicate()
    local_index.open.set()
    assert run_docker(*listing).stdout != b""
    made = image(model, environ=image_environ)
    assert made["environment"]["origin"] == "built"
    assert run_docker(*listing).stdout == b""
    assert run_docker("images", "--quiet", "envbuild-stage").stdout == b""


@pytest.mark.slow
def test_the_log_of_a_call_that_failed_stays_and_is_named(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    logs = Path(image_environ["ENVBUILD_HOME"]) / "images" / "logs"
    model = make_model(pip=["fruit"])
    image(model, environ=image_environ)
    assert list(logs.iterdir()) == []
    done = cli("image", model, "--apt", "no-such-package", environ=image_environ)
    assert done.returncode == 5
    (log,) = logs.iterdir()
    assert f"the log is {log}" in done.stderr
    assert "error[image-failed]" in log.read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can be somebody else")
def test_who_may_only_talk_to_the_daemon_builds_too_and_keeps_its_caches(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    model, home = make_model(pip=["fruit"]), Path(image_environ["ENVBUILD_HOME"])
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    for path in [home, *home.rglob("*")]:
        os.chown(path, 65534, 65534)
    group = Path("/var/run/docker.sock").stat().st_gid
    member = [word.replace("--clear-groups", f"--groups={group}") for word in AS_NOBODY]
    argv = [*member, sys.executable, "-m", "envbuild", "image", str(model), "--json"]
    here = interpreters.find("3.8", Settings.from_environ({}, home=REPO / ".cache", python_downloads=False))
    # access(2) knows nothing of the capabilities that let nobody read root's home.
    image_environ["ENVBUILD_PYTHON"] = here.executable
    environ = {**image_environ, "DOCKER_CONFIG": str(home)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert predicted(made["image"], b'{"inputs": [1]}') == {"predictions": [2]}
    owners = {path.stat().st_uid for path in [*home.glob("uv/**/*"), *home.glob("bytecode/**/*")]}
    assert owners == {65534}
    _copy_shelf(home, tmp_path / "roots")
    as_root = image(model, environ={**image_environ, "ENVBUILD_HOME": str(tmp_path / "roots")})
    assert as_root["environment"]["id"] == made["environment"]["id"]


def _copy_shelf(home: Path, other: Path) -> None:
    """Another home, root's, with the layer of the HTTP side."""
    shutil.copytree(home / "images", other / "images")
    other.chmod(0o700)
