"""Both images in a real registry that wants a login: sent once, taken from there, with their bill of materials."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import predicted
from kit import cli
from local_index import LocalIndex
from registry_server import PASSWORD, USER, docker_registry
from stand_ins import run_docker
from test_image_building import REQUEST, MakeModel, image
from tiny import LOADER, wheel

from envbuild.images.reference import Reference
from envbuild.images.registry import read_blob, read_manifest, referrers
from envbuild.images.sbom import MEDIA_TYPE

pytestmark = pytest.mark.slow


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with docker_registry(tmp_path / "registry", login=True) as host:
        yield host


@pytest.fixture
def logged_in(registry: str, tmp_path: Path, image_environ: dict[str, str]) -> dict[str, str]:
    """The variables of a call that is logged in, as `docker login` leaves it."""
    config = tmp_path / "docker"
    config.mkdir()
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (config / "config.json").write_text(json.dumps({"auths": {registry: {"auth": login}}}))
    return {**image_environ, "DOCKER_CONFIG": str(config)}


def test_what_is_pushed_is_sent_once_and_pulled_from_there(
    make_model: MakeModel,
    make_home: Callable[[str], Path],
    local_index: LocalIndex,
    registry: str,
    logged_in: dict[str, str],
    tmp_path: Path,
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    model, name = make_model(pip=["fruit"]), f"{registry}/team/salad:1"
    first = image(model, "-t", name, "--push", "--sbom", tmp_path / "sbom.json", environ=logged_in)
    environment, own = first["pushed"]
    assert environment["reference"] == f"{registry}/team/env:{first['environment']['key']}"
    assert (environment["layers_there"], own["layers_sent"]) == (0, 1)
    assert "pushing layer" in first["stderr"]
    assert PASSWORD not in json.dumps(first)
    again = image(model, "-t", name, "--push", environ=logged_in)
    assert [part["digest"] for part in again["pushed"]] == [environment["digest"], own["digest"]]
    assert [(part["layers_sent"], part["bytes_sent"]) for part in again["pushed"]] == [(0, 0), (0, 0)]
    # A change in the model sends that alone.
    (model / "code" / "its_loader.py").write_text(LOADER.replace("2 * value", "3 * value"))
    changed = image(model, "-t", f"{registry}/team/salad:2", "--push", environ=logged_in)
    assert [part["layers_sent"] for part in changed["pushed"]] == [0, 1]
    _pulled(model, first, registry, {**logged_in, "ENVBUILD_HOME": str(make_home("elsewhere"))})


def _pulled(model: Path, first: dict[str, Any], registry: str, environ: dict[str, str]) -> None:
    """Another machine takes the environment from the registry, and builds nothing."""
    names = [f"{registry}/team/salad:1", f"{registry}/team/salad:2", first["environment"]["image"]]
    run_docker("rmi", "--force", *names)
    there = image(model, "-t", f"{registry}/team/salad:3", "--pull-env", environ=environ)
    assert there["environment"] == {**first["environment"], "origin": "pulled"}
    assert "installing" not in there["stderr"]
    assert predicted(f"{registry}/team/salad:3", REQUEST) == {"predictions": [3, 6]}
    run_docker("rmi", "--force", f"{registry}/team/env:{first['environment']['key']}")


def test_what_another_tool_reads_back_is_the_image_and_its_bill(
    make_model: MakeModel,
    local_index: LocalIndex,
    registry: str,
    logged_in: dict[str, str],
    skopeo: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    name = f"{registry}/team/salad:1"
    made = image(make_model(pip=["fruit"]), "-t", name, "--push", "--sbom", tmp_path / "sbom.json", environ=logged_in)
    login = ("--tls-verify=false", "--creds", f"{USER}:{PASSWORD}")
    config = skopeo("inspect", *login, "--raw", "--config", f"docker://{name}")
    assert f"sha256:{hashlib.sha256(config.encode()).hexdigest()}" == made["id"]
    assert json.loads(skopeo("inspect", *login, f"docker://{name}"))["Digest"] == made["pushed"][1]["digest"]
    monkeypatch.setenv("DOCKER_CONFIG", logged_in["DOCKER_CONFIG"])
    subject = Reference.parse(f"{name.rpartition(':')[0]}@{made['pushed'][1]['digest']}")
    (bill,) = referrers(subject, MEDIA_TYPE)
    assert bill.digest == made["pushed"][1]["sbom"]
    manifest = read_manifest(subject.with_digest(bill.digest)).document()
    content = read_blob(subject, manifest["layers"][0]["digest"])
    assert content == (tmp_path / "sbom.json").read_bytes()
    known = {part["name"] for part in json.loads(content)["components"]}
    assert {"fruit", "python", "libc6"} <= known


def test_a_wrong_login_is_said_with_what_to_do(
    make_model: MakeModel, local_index: LocalIndex, registry: str, image_environ: dict[str, str], tmp_path: Path
) -> None:
    environ = {**image_environ, "DOCKER_CONFIG": str(tmp_path / "nothing")}
    done = cli("image", make_model(), "-t", f"{registry}/team/salad:1", "--push", environ=environ)
    assert done.returncode == 5
    assert "error[registry-refused]" in done.stderr
    assert f"docker login {registry}" in done.stderr


def test_a_registry_that_is_not_there_is_said(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    done = cli("image", make_model(), "-t", "127.0.0.1:9/team/salad:1", "--push", environ=image_environ)
    assert done.returncode == 5
    assert "error[registry-unreachable]" in done.stderr
