"""What images stand on: bases, their Pythons, Debian packages, and what is said where one of them will not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from containers import predicted, shell
from kit import REPO, cli
from local_index import LocalIndex
from stand_ins import debian, python, run_docker
from test_image_building import REQUEST, MakeModel, image
from tiny import wheel

from envbuild import interpreters
from envbuild.images.base import PLAIN, default_reference, has_portable_build
from envbuild.settings import Settings


@pytest.fixture
def derived() -> Callable[..., str]:
    """Makes an image on the test's base by Dockerfile lines; it goes with the others."""

    def make(name: str, base: str, *lines: str) -> str:
        text = "\n".join([f"FROM {base}", *lines])
        run_docker("build", "--quiet", "--tag", name, "-", stdin=text.encode(), DOCKER_BUILDKIT="0")
        return name

    return make


@pytest.mark.slow
def test_a_plain_base_gets_a_copy_of_the_python_that_is_named(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    found = interpreters.find("3.8", Settings.from_environ({}, home=REPO / ".cache", python_downloads=False))
    model = make_model(pip=["fruit"])
    made = image(model, "--base-image", debian(), "--python", found.executable, environ=image_environ)
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}
    assert f"Python {found.version} at /opt/python" in [part["what"] for part in made["layers"]]
    code = "import ssl, ctypes, sqlite3, sysconfig, sys; print(sys.base_prefix, sysconfig.get_config_var('LIBDIR'))"
    said = shell(made["image"], f'python -I -c "{code}"')
    assert said.split() == ["/opt/python", "/opt/python/lib"]


def test_a_base_without_the_right_python_is_said(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    done = cli("image", make_model(), "--base-image", debian(), environ=image_environ)
    assert done.returncode == 5
    assert "error[image-base-unusable]" in done.stderr
    assert "has no Python 3.8" in done.stderr
    assert "--base-image python:3.8-slim" in done.stderr


def test_another_patch_release_in_the_base_is_a_notice_and_under_the_exact_policy_an_error(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    model = make_model(python="3.8.1")
    made = image(model, environ=image_environ)
    assert "python-patch" in [notice["code"] for notice in made["notices"]]
    done = cli("image", model, "--python-policy", "exact", environ=image_environ)
    assert done.returncode != 0


def test_musl_is_noticed_before_anything_is_built(
    make_model: MakeModel,
    local_index: LocalIndex,
    image_environ: dict[str, str],
    base: str,
    derived: Callable[..., str],
) -> None:
    musl = derived("envbuild-test-musl:1", base, "RUN touch /lib/ld-musl-x86_64.so.1")
    done = cli("image", make_model(), "--base-image", musl, environ=image_environ)
    assert done.returncode == 5
    assert "error[image-base-unusable]" in done.stderr
    assert "musl" in done.stderr


@pytest.mark.slow
def test_the_bases_name_means_the_same_image_until_it_is_asked_anew(
    make_model: MakeModel,
    local_index: LocalIndex,
    image_environ: dict[str, str],
    base: str,
    derived: Callable[..., str],
) -> None:
    name, model = "envbuild-test-moving:1", make_model()
    derived(name, base, "ENV TURN=1")
    first = image(model, "--base-image", name, environ=image_environ)
    derived(name, base, "ENV TURN=2")
    again = image(model, "--base-image", name, environ=image_environ)
    assert again["base"] == first["base"]
    assert again["environment"]["origin"] == "local"
    anew = image(model, "--base-image", name, "--update-base", environ=image_environ)
    assert anew["base"]["digest"] != first["base"]["digest"]
    assert anew["environment"]["key"] != first["environment"]["key"]
    # The first base has lost its name to the second, and is still what the first images are built on.
    for tag in (*again["tags"], *anew["tags"], first["environment"]["image"]):
        run_docker("rmi", "--force", tag, check=False)
    run_docker("rmi", "--force", first["base"]["digest"], check=False)


def test_a_platform_that_the_base_is_not_for_is_refused(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    done = cli("image", make_model(), "--platform", "linux/arm64", environ=image_environ)
    assert done.returncode == 5
    assert "not for arm64" in done.stderr
    done = cli("image", make_model("other"), "--platform", "windows", environ=image_environ)
    assert done.returncode == 2


@pytest.mark.slow
def test_debian_packages_are_put_in_and_stay_what_they_were(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], base: str
) -> None:
    local_index.add(wheel("lightgbm", "3.0"))
    model = make_model(pip=["lightgbm"])
    made = image(model, "--apt", "netbase", environ=image_environ)
    assert {"libgomp1", "netbase"} <= set(made["apt"])
    (said,) = [notice["message"] for notice in made["notices"] if notice["code"] == "image-packages"]
    assert "libgomp1 (for lightgbm)" in said
    installed = shell(made["image"], "dpkg-query -W libgomp1 netbase; ls /usr/lib/x86_64-linux-gnu/libgomp.so.1")
    assert "libgomp.so.1" in installed
    for name in ("libgomp1", "netbase"):
        assert f"{name}\t{made['apt'][name]}" in installed.replace(":amd64", "")
    script = "ls -1 /var/lib/apt/lists /var/cache /var/log /tmp; true"
    assert shell(made["image"], script, "--user", "0") == shell(base, script)
    again = image(model, "--apt", "netbase", "--offline", environ=image_environ)
    assert again["environment"] == {**made["environment"], "origin": "local"}


def test_a_debian_package_that_is_not_there_is_said(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    done = cli("image", make_model(), "--apt", "no-such-package", environ=image_environ)
    assert done.returncode == 5
    assert "error[image-failed]" in done.stderr
    assert "no-such-package" in done.stderr


@pytest.mark.slow
def test_a_base_with_another_c_library_gets_a_lock_of_its_own(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"), wheel("fruit", "2.0", tag="cp38-cp38-manylinux_2_40_x86_64"))
    model = make_model(pip=["fruit"])
    here = image(model, environ=image_environ)
    newer = image(model, "--base-image", python("3.8", "trixie"), environ=image_environ)
    assert "image-target" in [notice["code"] for notice in newer["notices"]]
    assert newer["lock_hash"] != here["lock_hash"]
    assert predicted(newer["image"], REQUEST) == {"predictions": [2, 4]}
    assert "fruit-2.0.dist-info" in shell(newer["image"], "ls /opt/environment/lib/python3.8/site-packages")
    assert "fruit-1.0.dist-info" in shell(here["image"], "ls /opt/environment/lib/python3.8/site-packages")


@pytest.mark.slow
def test_a_lock_file_for_an_older_c_library_serves_on_a_newer_base(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    tags = ("cp38-cp38-manylinux_2_17_x86_64", "cp38-cp38-manylinux_2_40_x86_64")
    local_index.add(*(wheel("fruit", version, tag=tag) for version, tag in zip(("1.0", "2.0"), tags, strict=True)))
    model, path = make_model(pip=["fruit"]), tmp_path / "pylock.toml"
    locked = cli("lock", model, "--platform", "manylinux_2_28_x86_64", "-o", path, environ=image_environ)
    assert locked.returncode == 0, locked.stderr
    made = image(model, "--lock", path, "--base-image", python("3.8", "trixie"), environ=image_environ)
    assert "image-target" not in [notice["code"] for notice in made["notices"]]
    assert f"lock hash {made['lock_hash']}" in locked.stdout
    assert "fruit-1.0.dist-info" in shell(made["image"], "ls /opt/environment/lib/python3.8/site-packages")


@pytest.mark.slow
def test_the_files_for_bases_build_one_that_serves(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], base: str, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    (context / "python").mkdir(parents=True)
    words = ("--network", "host", "--build-arg", f"BASE_IMAGE={base}", "--tag", "envbuild-test-base:1")
    run_docker("build", "--file", REPO / "Dockerfile.base", *words, context, DOCKER_BUILDKIT="0")
    config = json.loads(run_docker("inspect", "envbuild-test-base:1").stdout)[0]["Config"]
    assert config["User"] == "10001:10001"
    made = image(make_model(), "--base-image", "envbuild-test-base:1", environ=image_environ)
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}


def test_the_default_base_is_todays_debian_where_there_is_a_portable_build() -> None:
    assert has_portable_build("3.8.20")
    assert not has_portable_build("3.6.15")
    assert default_reference("3.11.4", downloads=True) == PLAIN
    assert default_reference("3.11.4", downloads=False) == "python:3.11.4-slim"
    assert default_reference("3.6.15", downloads=True) == "python:3.6.15-slim"
