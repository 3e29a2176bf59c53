"""Credentials reach what needs them and stay nowhere: a canary in each channel, looked for in everything that stays."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from containers import predicted
from kit import cli
from local_index import LocalIndex
from stand_ins import run_docker
from test_image_building import REQUEST, MakeModel, image
from tiny import wheel

USER, CANARY = "deployer", "canary-7d1e5b0a"
PROXY = "canary-proxy-2f66c1"


def everything_in(name: str) -> bytes:
    """All that an image is: every layer's names and contents, the config, and what the daemon says of it."""
    saved = run_docker("save", name).stdout
    found = [run_docker("inspect", name).stdout, run_docker("history", "--no-trunc", name).stdout]
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and not member.name.endswith("/layer.tar"):
                found.append(content.read())
        layers = json.load(archive.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        # The base's own layers are not ours.
        for layer in layers[3:]:
            content = archive.extractfile(layer)
            assert content is not None
            found.append(content.read())
    return b"\n".join(found)


def test_a_login_in_the_url_stays_nowhere(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    local_index.login = (USER, CANARY)
    log = tmp_path / "log"
    environ = {**image_environ, "ENVBUILD_INDEX_URL": local_index.with_login(USER, CANARY)}
    made = image(make_model(pip=["fruit"]), "-v", "--log-file", log, "--sbom", tmp_path / "sbom", environ=environ)
    _nowhere(made, image_environ, log.read_bytes() + (tmp_path / "sbom").read_bytes())
    assert b"fruit" in (tmp_path / "sbom").read_bytes()


@pytest.mark.slow
def test_a_login_from_netrc_and_what_a_proxy_and_an_authority_are_stay_nowhere(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    local_index.login = (USER, CANARY)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {CANARY}\n")
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(f"# {PROXY}\n{Path('/etc/ssl/certs/ca-certificates.crt').read_text()}")
    environ = {
        **image_environ,
        "NETRC": str(netrc),
        "HTTPS_PROXY": f"http://{USER}:{PROXY}@127.0.0.1:9",
        "SSL_CERT_FILE": str(authorities),
        "NO_PROXY": "127.0.0.1",
    }
    made = image(make_model(pip=["fruit"]), environ=environ)
    _nowhere(made, image_environ)


@pytest.mark.slow
def test_a_token_and_the_certificate_that_is_shown_stay_nowhere(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    local_index.login = ("__token__", CANARY)
    token = tmp_path / "token"
    token.write_text(f"#!/bin/sh\necho {CANARY}\n")
    token.chmod(0o700)
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=me", "-days", "2"]
    words += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run(words, check=True, capture_output=True)
    shown = tmp_path / "me.pem"
    shown.write_text(f"# {PROXY}\n{(tmp_path / 'crt').read_text()}{(tmp_path / 'key').read_text()}")
    environ = {
        **image_environ,
        "ENVBUILD_INDEX_TOKEN_COMMAND": str(token),
        "ENVBUILD_INDEX_CLIENT_CERT": str(shown),
        "ENVBUILD_INDEX_CA": str(shown),
    }
    made = image(make_model(pip=["fruit"]), environ=environ)
    _nowhere(made, image_environ)


def test_a_refused_login_is_said_without_it(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    model = make_model(pip=["fruit"])
    assert cli("lock", model, environ=image_environ).returncode == 0
    local_index.login = (USER, "another")
    environ = {**image_environ, "ENVBUILD_INDEX_URL": local_index.with_login(USER, CANARY)}
    done = cli("image", model, "--json", "-v", environ=environ)
    assert done.returncode == 5
    assert CANARY not in done.stdout + done.stderr


def _nowhere(made: dict[str, object], environ: dict[str, str], more: bytes = b"") -> None:
    assert predicted(str(made["image"]), REQUEST) == {"predictions": [2, 4]}
    everything = everything_in(str(made["image"])) + json.dumps(made).encode() + more
    # What is looked for can be found: the files that were installed are in it.
    assert b"fruit-1.0.dist-info" in everything
    for path in (Path(environ["ENVBUILD_HOME"]) / "images").rglob("*"):
        if path.is_file() and not path.name.startswith(("server-", "python-")):
            everything += path.read_bytes()
    for secret in (CANARY, PROXY):
        assert secret.encode() not in everything


@pytest.mark.slow
def test_the_host_stays_outside(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], make_home: Callable[[str], Path]
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    made = image(make_model(pip=["fruit"]), environ=image_environ)
    saved = run_docker("save", made["image"]).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        layers = json.load(archive.extractfile("manifest.json"))[0]["Layers"]  # type: ignore[arg-type]
        ours = b"".join(archive.extractfile(layer).read() for layer in layers[-2:])  # type: ignore[union-attr]
    for trace in (local_index.root, image_environ["ENVBUILD_HOME"], str(Path.cwd())):
        assert trace.encode() not in ours
