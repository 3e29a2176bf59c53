"""Registries: images sent to a real one and read back by another's tools, and to toys that misbehave."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from machine import free_port
from registry_server import PASSWORD, USER, Toy, basic, digest_of, docker_registry, toy_registry

from envbuild.errors import EnvbuildError, ImageError, RegistryRefused, RegistryUnreachable, UsageError
from envbuild.images import blobs, conversation, registry
from envbuild.images.credentials import challenge_in
from envbuild.images.manifest import EMPTY_TYPE, INDEX_TYPE, MANIFEST_TYPE
from envbuild.images.reference import DOCKER_HUB, Reference
from envbuild.images.registry import LayerSource, Mount, Pushed
from envbuild.progress import Step, silent

SBOM = "application/vnd.cyclonedx+json"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login but the test's own, no pauses, no proxy."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(conversation, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("open") / "registry") as host:
        yield host


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry that wants a login."""
    with docker_registry(tmp_path_factory.mktemp("locked") / "registry", login=True) as host:
        yield host


@pytest.fixture
def toy() -> Iterator[Toy]:
    with toy_registry() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Toy]:
    """Another host."""
    with toy_registry() as found:
        yield found


def tar(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


LOWER, UPPER = tar(lower="lower " * 1000), tar(upper="upper " * 2000)


def layer(content: bytes, mount_from: Mount | None = None) -> LayerSource:
    return LayerSource(diff_id=digest_of(content), open=lambda: io.BytesIO(content), mount_from=mount_from)


def unread(content: bytes, mount_from: Mount | None = None) -> LayerSource:
    """A layer that must not be opened."""

    def refuse() -> BinaryIO:
        raise AssertionError("the layer was opened")

    return LayerSource(diff_id=digest_of(content), open=refuse, mount_from=mount_from)


def config(*layers: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest_of(content) for content in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()


def at(host: str, name: str = "team/model:1") -> Reference:
    return Reference.parse(f"{host}/{name}")


def push(reference: Reference, *contents: bytes, memory: Path | None = None) -> Pushed:
    layers = contents or (LOWER, UPPER)
    return registry.push(reference, config(*layers), [layer(one) for one in layers], silent, memory)


def log_in(directory: Path, host: str, **entry: str) -> None:
    """As ``docker login`` does."""
    (directory / "docker").mkdir(exist_ok=True)
    (directory / "docker" / "config.json").write_text(json.dumps({"auths": {host: entry}}))


def by_password(password: str = PASSWORD) -> dict[str, str]:
    return {"auth": basic(USER, password).removeprefix("Basic ")}


def said(error: EnvbuildError) -> str:
    return f"{error} {error!r} {error.to_dict()} {error.__cause__!r}"


@pytest.mark.parametrize(
    ("text", "registry_of", "repository", "tag", "origin"),
    [
        ("registry.example/team/model:1", "registry.example", "team/model", "1", "https://registry.example"),
        ("registry.example:5000/model", "registry.example:5000", "model", "latest", "https://registry.example:5000"),
        ("localhost/model", "localhost", "model", "latest", "http://localhost"),
        ("127.1.2.3:5000/model", "127.1.2.3:5000", "model", "latest", "http://127.1.2.3:5000"),
        ("[::1]:5000/model", "[::1]:5000", "model", "latest", "http://[::1]:5000"),
        ("Host/model", "Host", "model", "latest", "https://Host"),
        (f"127.0.0.1/model@sha256:{'a' * 64}", "127.0.0.1", "model", None, "http://127.0.0.1"),
    ],
)
def test_a_name_is_read_as_docker_reads_it(
    text: str, registry_of: str, repository: str, tag: str | None, origin: str
) -> None:
    found = Reference.parse(text)
    assert (found.registry, found.repository, found.tag, found.origin) == (registry_of, repository, tag, origin)
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "repository", "short"),
    [
        ("model", "library/model", "model:latest"),
        ("team/model:1", "team/model", "team/model:1"),
        (f"{DOCKER_HUB}/model:1", "library/model", "model:1"),
    ],
)
def test_a_name_without_a_registry_is_docker_hubs(text: str, repository: str, short: str) -> None:
    found = Reference.parse(text)
    assert (found.registry, found.repository, str(found)) == (DOCKER_HUB, repository, short)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no repository"),
        ("registry.example:5000/", "names no repository"),
        ("team/Model", "small letters"),
        ("team//model", "made of letters"),
        ("team/../model", "made of letters"),
        ("model:", "its tag"),
        ("model:a b", "its tag"),
        ("model@sha256:abc", "its digest"),
        ("https://registry.example/model", "a scheme"),
        ("-x.example/model", "no host of a registry"),
        ("f" * 64, "the ID of an image"),
        (f"registry.example/{'x' * 255}", "longer than 255"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Reference.parse(text)


@pytest.mark.parametrize(
    "text", [f"https://robot:{PASSWORD}@registry.example/m", f"robot:{PASSWORD}@registry.example/m"]
)
def test_a_password_in_a_name_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse(text)
    assert PASSWORD not in said(caught.value)


def test_an_image_that_was_sent_is_what_skopeo_reads_back(real: str, tmp_path: Path) -> None:
    pushed = push(at(real, "team/read:1"))
    source, copy = f"docker://{real}/team/read:1", tmp_path / "copy"
    subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"dir:{copy}"], check=True)
    manifest = (copy / "manifest.json").read_bytes()
    assert (digest_of(manifest), len(manifest)) == (pushed.digest, pushed.size)
    stored = [(copy / blob["digest"].removeprefix("sha256:")).read_bytes() for blob in json.loads(manifest)["layers"]]
    assert [gzip.decompress(content) for content in stored] == [LOWER, UPPER]
    assert (copy / json.loads(manifest)["config"]["digest"].removeprefix("sha256:")).read_bytes() == config(
        LOWER, UPPER
    )
    assert pushed.bytes_sent == sum(map(len, stored)) + len(config(LOWER, UPPER))
    assert str(pushed.reference) == f"{real}/team/read:1@{pushed.digest}"


def test_the_same_image_is_the_same_manifest_wherever_it_is_sent(real: str, locked: str, tmp_path: Path) -> None:
    log_in(tmp_path, locked, **by_password())
    assert push(at(real, "team/one:1")).digest == push(at(locked, "team/two:other")).digest


def test_a_second_push_sends_nothing_and_with_a_memory_reads_nothing(real: str, tmp_path: Path) -> None:
    reference, memory = at(real, "team/again:1"), tmp_path / "kept" / "layers.json"
    first = push(reference, memory=memory)
    assert (first.sent, first.there, first.mounted) == (2, 0, 0)
    layers = [unread(LOWER), unread(UPPER)]
    second = registry.push(reference, config(LOWER, UPPER), layers, silent, memory)
    assert (second.sent, second.there, second.bytes_sent, second.digest) == (0, 2, 0, first.digest)
    without = push(reference)
    assert (without.sent, without.there, without.bytes_sent, without.digest) == (0, 2, 0, first.digest)


def test_a_manifest_that_is_there_is_not_put_again(toy: Toy) -> None:
    push(at(toy.address))
    push(at(toy.address))
    assert len(toy.asked("PUT", "/manifests/")) == 1


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"a": 1}', b'{"sha256:00": ["sha256:zz", 1]}'])
def test_a_damaged_memory_is_forgotten(real: str, tmp_path: Path, damage: bytes) -> None:
    memory = tmp_path / "layers.json"
    memory.write_bytes(damage)
    push(at(real, "team/damaged:1"), memory=memory)
    assert set(json.loads(memory.read_bytes())) == {digest_of(LOWER), digest_of(UPPER)}


def test_a_memory_of_what_the_registry_has_lost_is_no_reason_to_leave_it_out(toy: Toy, tmp_path: Path) -> None:
    memory = tmp_path / "layers.json"
    push(at(toy.address), memory=memory)
    toy.blobs.clear()
    assert push(at(toy.address), memory=memory).sent == 2


def test_a_layer_that_stands_twice_in_an_image_goes_once(real: str) -> None:
    pushed = push(at(real, "team/twice:1"), UPPER, LOWER, UPPER)
    assert (pushed.sent, len(registry.read_manifest(pushed.reference).document()["layers"])) == (2, 3)


def test_a_base_images_layer_is_mounted_and_not_read(real: str) -> None:
    base = registry.read_manifest(push(at(real, "team/base:1"), LOWER).reference).document()["layers"][0]
    mount = Mount(repository="team/base", digest=base["digest"], size=base["size"])
    layers = [unread(LOWER, mount), layer(UPPER)]
    pushed = registry.push(at(real, "team/upon:1"), config(LOWER, UPPER), layers, silent)
    assert (pushed.sent, pushed.mounted) == (1, 1)
    again = registry.push(at(real, "team/upon:1"), config(LOWER, UPPER), layers, silent)
    assert (again.there, again.bytes_sent, again.digest) == (2, 0, pushed.digest)


def test_a_layer_that_cannot_be_mounted_is_sent(real: str) -> None:
    mount = Mount(repository="team/nowhere", digest=digest_of(b"nothing"), size=7)
    pushed = registry.push(at(real, "team/unmounted:1"), config(UPPER), [layer(UPPER, mount)], silent)
    assert (pushed.sent, pushed.mounted) == (1, 0)


def test_progress_says_which_layers_are_on_their_way_and_what_went(real: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_STEP_BYTES", 1)
    steps: list[Step] = []
    pushed = registry.push(at(real, "team/steps:1"), config(UPPER), [layer(UPPER)], steps.append)
    size = registry.read_manifest(pushed.reference).document()["layers"][0]["size"]
    text = f"layer {digest_of(UPPER)[7:19]}"
    begun, under_way = Step("pushing", text), Step("pushing", text, bytes=size)
    assert steps == [begun, under_way, Step("pushing", text, done=True, bytes=size)]


def test_an_image_can_be_sent_by_its_digest_alone_and_no_other_can(real: str) -> None:
    digest = push(at(real, "team/digest:1")).digest
    named = Reference.parse(f"{real}/team/elsewhere@{digest}")
    assert push(named).digest == digest
    assert registry.manifest_digest(named) == digest
    with pytest.raises(ImageError, match="and not"):
        push(named, LOWER)


def test_a_layer_that_is_not_what_its_diff_id_says_is_not_sent(toy: Toy) -> None:
    wrong = LayerSource(diff_id=digest_of(LOWER), open=lambda: io.BytesIO(UPPER))
    with pytest.raises(ImageError, match="another than its diff ID says"):
        registry.push(at(toy.address), config(LOWER), [wrong], silent)
    assert (toy.blobs, toy.manifests) == ({}, {})


def test_an_image_is_looked_up_and_its_config_read(real: str) -> None:
    reference = at(real, "team/look:1")
    assert registry.manifest_digest(reference) is None
    pushed = push(reference)
    assert registry.manifest_digest(reference) == pushed.digest
    manifest = registry.read_manifest(reference)
    assert (manifest.digest, manifest.media_type) == (pushed.digest, MANIFEST_TYPE)
    assert registry.read_blob(reference, manifest.document()["config"]["digest"]) == config(LOWER, UPPER)


def test_what_is_not_there_is_refused_in_the_registrys_own_words(real: str) -> None:
    with pytest.raises(RegistryRefused, match="404") as caught:
        registry.read_manifest(at(real, "team/never:1"))
    assert caught.value.details == ("manifest unknown",)


def test_content_that_is_not_its_digest_is_not_taken(toy: Toy) -> None:
    digest = digest_of(b"right")
    toy.blobs[digest] = toy.manifests[digest] = b"wrong"
    with pytest.raises(ImageError, match="is not it"):
        registry.read_blob(at(toy.address), digest)
    with pytest.raises(ImageError, match="is not it"):
        registry.read_manifest(at(toy.address).with_digest(digest))


def test_a_registry_that_wants_a_login_gets_dockers(locked: str, tmp_path: Path) -> None:
    log_in(tmp_path, locked, **by_password())
    assert push(at(locked, "team/login:1")).sent == 2


@pytest.mark.parametrize(
    ("password", "words"), [(None, "wants a login"), ("canary-wrong", "does not accept the login that Docker keeps")]
)
def test_without_the_right_login_it_says_how_to_log_in(
    locked: str, tmp_path: Path, password: str | None, words: str
) -> None:
    if password is not None:
        log_in(tmp_path, locked, **by_password(password))
    with pytest.raises(RegistryRefused, match=words) as caught:
        push(at(locked))
    assert caught.value.hint == f"docker login {locked}"
    assert "canary" not in said(caught.value)


def with_helper(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (directory / "docker").mkdir()
    (directory / "docker" / "config.json").write_text('{"credsStore": "canary"}')
    helper = directory / "docker-credential-canary"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_a_credential_helper_is_asked(locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_helper(tmp_path, monkeypatch, f"""echo '{{"Username": "{USER}", "Secret": "{PASSWORD}"}}'""")
    assert push(at(locked, "team/helper:1")).sent == 2


@pytest.mark.parametrize("script", [f"echo {PASSWORD}; exit 1", f"echo {PASSWORD}"])
def test_what_a_helper_says_as_it_fails_is_not_repeated(
    locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    with_helper(tmp_path, monkeypatch, script)
    with pytest.raises(ImageError, match="cannot be read") as caught:
        push(at(locked))
    assert PASSWORD not in said(caught.value)


def test_a_missing_helper_and_a_damaged_configuration_are_said(locked: str, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    for content in ({"credsStore": "missing"}, {"auths": {locked: {"auth": "%%%"}}}):
        (tmp_path / "docker" / "config.json").write_text(json.dumps(content))
        with pytest.raises(ImageError, match="cannot be read"):
            push(at(locked))


def test_without_the_docker_sdk_it_says_what_to_install(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ImageError, match="docker SDK is not installed"):
        push(at(locked))


def test_a_token_is_fetched_with_the_password_and_used_for_all_that_follows(toy: Toy, tmp_path: Path) -> None:
    toy.login = "bearer"
    log_in(tmp_path, toy.address, **by_password())
    assert push(at(toy.address)).sent == 2
    tokens = [one for one in toy.seen if one.path.startswith("/token")]
    assert {one.path for one in tokens} == {"/token?service=toy&scope=repository%3Ateam%2Fmodel%3Apull%2Cpush"}
    assert len(tokens) == 1
    assert {one.authorization for one in toy.asked("PUT")} == {f"Bearer {toy.token}"}


def test_a_token_that_runs_out_while_a_layer_is_sent_is_replaced(toy: Toy, tmp_path: Path) -> None:
    toy.login, toy.next_token = "bearer", "canary-token-renewed"
    log_in(tmp_path, toy.address, **by_password())
    assert push(at(toy.address), UPPER).sent == 1
    sent = [one.authorization for one in toy.asked("PUT", "/uploads/")]
    assert sent == ["Bearer canary-token-5a77", *["Bearer canary-token-renewed"] * 2]


def test_a_401_without_a_challenge_is_an_answer_and_no_invitation(toy: Toy, tmp_path: Path) -> None:
    log_in(tmp_path, toy.address, **by_password())
    toy.faults = [("HEAD", "/manifests/", 401)]
    with pytest.raises(RegistryRefused):
        registry.manifest_digest(at(toy.address))
    assert [one.authorization for one in toy.seen] == [None]


def test_an_identity_token_is_traded_for_one_that_is_used(toy: Toy, tmp_path: Path) -> None:
    toy.login = "bearer"
    log_in(tmp_path, toy.address, auth=basic("x", "y").removeprefix("Basic "), identitytoken=toy.identity_token)
    assert push(at(toy.address)).sent == 2
    assert b"grant_type=refresh_token" in toy.asked("POST", "/token")[0].body


def test_a_token_service_that_refuses_is_said_without_the_password(toy: Toy, tmp_path: Path) -> None:
    toy.login = "bearer"
    log_in(tmp_path, toy.address, **by_password("canary-wrong"))
    with pytest.raises(RegistryRefused, match="does not accept the login") as caught:
        push(at(toy.address))
    assert caught.value.details == ("incorrect username or password",)
    assert "canary" not in said(caught.value)


def test_a_token_service_elsewhere_gets_no_password_without_tls(toy: Toy, other: Toy, tmp_path: Path) -> None:
    toy.login, toy.realm = "bearer", f"{other.root.replace('127.0.0.1', 'localhost')}/token"
    log_in(tmp_path, toy.address, **by_password())
    with pytest.raises(RegistryRefused, match="without TLS; it was not sent"):
        push(at(toy.address))
    assert other.seen == []


def test_the_mounts_source_is_in_the_scope_of_its_token(toy: Toy, tmp_path: Path) -> None:
    toy.login = "bearer"
    log_in(tmp_path, toy.address, **by_password())
    mount = Mount(repository="team/base", digest=digest_of(b"base"), size=4)
    registry.push(at(toy.address), config(UPPER), [layer(UPPER, mount)], silent)
    assert any("scope=repository%3Ateam%2Fbase%3Apull" in one.path for one in toy.asked("GET", "/token"))


@pytest.mark.parametrize("login", ["basic", "bearer"])
def test_where_a_registry_leads_to_nothing_of_the_login_goes(toy: Toy, other: Toy, tmp_path: Path, login: str) -> None:
    toy.login, toy.elsewhere = login, other.root
    log_in(tmp_path, toy.address, **by_password())
    pushed = push(at(toy.address))
    assert (pushed.sent, len(other.asked("PUT", "/uploads/"))) == (2, 3)
    digest = next(iter(other.blobs))
    assert registry.read_blob(at(toy.address), digest) == other.blobs[digest]
    assert {one.authorization for one in other.seen} == {None}
    assert any(one.authorization for one in toy.seen)


def test_a_place_that_a_registry_leads_to_may_not_ask_for_the_login(toy: Toy, other: Toy, tmp_path: Path) -> None:
    toy.login, toy.elsewhere, other.login = "basic", other.root, "bearer"
    log_in(tmp_path, toy.address, **by_password())
    with pytest.raises(RegistryRefused):
        push(at(toy.address), UPPER)
    assert [(one.method, one.authorization) for one in other.seen] == [("PUT", None)]


def test_a_circle_of_redirects_ends(toy: Toy) -> None:
    toy.elsewhere = toy.root
    with pytest.raises(ImageError, match="in a circle"):
        registry.read_blob(at(toy.address), digest_of(b"x"))


@pytest.mark.parametrize("status", [500, 503, 429, 0])
@pytest.mark.parametrize(("method", "pattern"), [("PUT", "/uploads/"), ("POST", "/uploads/"), ("PUT", "/manifests/")])
def test_a_registry_that_fails_twice_is_asked_a_third_time(toy: Toy, status: int, method: str, pattern: str) -> None:
    toy.faults = [(method, pattern, status)] * 2
    assert push(at(toy.address), UPPER).sent == 1
    assert toy.faults == []
    assert digest_of(toy.manifests["1"]) in toy.manifests


def test_a_registry_that_always_fails_is_asked_four_times_and_quoted(toy: Toy) -> None:
    toy.faults, toy.words = [("HEAD", "/manifests/", 500)] * 3 + [("HEAD", "/manifests/", 502)], "out of order"
    with pytest.raises(RegistryUnreachable, match="answers 502 to a look at"):
        registry.manifest_digest(at(toy.address))
    assert len(toy.seen) == 4


@pytest.mark.parametrize(
    ("status", "hint"), [(403, "docker login"), (404, "made before it is used"), (413, "a proxy"), (400, "own words")]
)
def test_a_refusal_is_quoted_and_says_what_to_do(toy: Toy, tmp_path: Path, status: int, hint: str) -> None:
    toy.login, toy.words = "basic", f"quota of {PASSWORD} exceeded, {basic(USER, PASSWORD)}"
    toy.faults = [("PUT", "/manifests/", status)]
    log_in(tmp_path, toy.address, **by_password())
    with pytest.raises(RegistryRefused, match=f"refuses the manifest .* \\({status}\\)") as caught:
        push(at(toy.address))
    assert caught.value.details == ("quota of **** exceeded, Basic ****",)
    assert hint in (caught.value.hint or "")
    assert PASSWORD not in said(caught.value)


class Endless(io.RawIOBase):
    """A layer that never comes to its end."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_a_layer_that_is_refused_stops_the_others(toy: Toy) -> None:
    toy.faults = [("PUT", "/uploads/", 413)]
    endless = [LayerSource(diff_id=f"sha256:{number:064}", open=Endless) for number in range(4)]
    with pytest.raises(RegistryRefused, match="413"):
        registry.push(at(toy.address), config(UPPER), [*endless[:2], layer(UPPER), *endless[2:]], silent)
    assert (toy.blobs, toy.manifests) == ({}, {})


def test_a_dead_port_is_said_at_once() -> None:
    with pytest.raises(RegistryUnreachable, match=r"does not answer: .*refused"):
        push(at(f"127.0.0.1:{free_port()}"))


def test_what_is_no_registry_is_said(toy: Toy) -> None:
    toy.faults = [("POST", "/uploads/", 200)]
    with pytest.raises(ImageError, match=r"answers 200 to sending .* is it one"):
        push(at(toy.address), UPPER)


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    """A registry with TLS, whose certificate nobody knows."""
    path = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(path), "-out", str(tmp_path / "public.pem"), "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    with open(path, "ab") as file:
        file.write((tmp_path / "public.pem").read_bytes())
    monkeypatch.setattr(Reference, "is_plain", False)
    with toy_registry(path) as found:
        yield found


def test_a_certificate_that_nobody_knows_is_not_taken_and_one_that_is_known_is(
    secure: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistryUnreachable, match="does not answer") as caught:
        push(at(secure.address))
    assert "SSL_CERT_FILE" in (caught.value.hint or "")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    assert push(at(secure.address)).sent == 2


def test_a_registry_with_tls_that_leads_to_a_place_without_is_not_followed(
    secure: Toy, other: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    secure.elsewhere = other.root
    with pytest.raises(ImageError, match="to a place without TLS: 127"):
        push(at(secure.address))
    assert other.seen == []


INTERRUPTED = """
import io, sys
from pathlib import Path
from envbuild.images import registry
from envbuild.images.reference import Reference
import test_registry as t
t.push(Reference.parse(sys.argv[1]), memory=Path(sys.argv[2]))
"""


def test_an_interrupt_ends_a_push_that_hangs_and_leaves_no_file(toy: Toy, tmp_path: Path) -> None:
    toy.hanging = threading.Event()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    paths = [str(Path(__file__).parents[at]) for at in range(3)]
    environ = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", INTERRUPTED, f"{toy.address}/team/model:1", str(tmp_path / "memory.json")]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE)
    assert toy.hanging.wait(60)
    process.send_signal(signal.SIGINT)
    # A fifth of the time for which the registry would be waited for.
    _, errors = process.communicate(timeout=120)
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    assert list(temporary.iterdir()) == []
    assert toy.manifests == {}


def attached(reference: Reference, pushed: Pushed, content: bytes, kind: str = SBOM) -> str:
    return registry.attach(reference, pushed.digest, pushed.size, kind, kind, content)


def test_what_is_attached_is_found_again_in_a_registry_that_knows_no_referrers(real: str) -> None:
    reference = at(real, "team/attached:1")
    pushed = push(reference)
    assert registry.referrers(reference) == ()
    first, second = attached(reference, pushed, b"{1}"), attached(reference, pushed, b"{2}", "application/other")
    assert attached(reference, pushed, b"{1}") == first
    assert [one.digest for one in registry.referrers(reference)] == [first, second]
    assert [one.digest for one in registry.referrers(pushed.reference, SBOM)] == [first]
    tagged = registry.read_manifest(reference.with_tag(pushed.digest.replace(":", "-")))
    assert (tagged.media_type, tagged.document()["manifests"][0]["artifactType"]) == (INDEX_TYPE, SBOM)


def test_an_artifact_says_what_it_is_of_and_is_read_back(real: str) -> None:
    reference = at(real, "team/artifact:1")
    pushed = push(reference)
    digest = attached(reference, pushed, b'{"bomFormat": "CycloneDX"}')
    manifest = registry.read_manifest(reference.with_digest(digest)).document()
    assert manifest["subject"] == {"mediaType": MANIFEST_TYPE, "digest": pushed.digest, "size": pushed.size}
    assert (manifest["artifactType"], manifest["config"]["mediaType"]) == (SBOM, EMPTY_TYPE)
    content = registry.read_blob(reference, manifest["layers"][0]["digest"])
    assert content == b'{"bomFormat": "CycloneDX"}'


def test_a_registry_that_knows_referrers_is_asked_for_them_page_by_page(toy: Toy) -> None:
    toy.referrers_api = True
    reference = at(toy.address, "x:1")
    pushed = push(reference)
    digests = {attached(reference, pushed, content) for content in (b"{1}", b"{2}", b"{3}")}
    assert {one.digest for one in registry.referrers(reference)} == digests
    assert len(toy.asked("GET", "/referrers/")) == 3
    assert not any(key.startswith("sha256-") for key in toy.manifests)


def test_a_tag_for_referrers_that_holds_something_else_is_left_alone(toy: Toy) -> None:
    pushed = push(at(toy.address))
    tag = pushed.digest.replace(":", "-")
    toy.manifests[tag] = b'{"schemaVersion": 2}'
    with pytest.raises(ImageError, match="is no index of manifests"):
        attached(at(toy.address), pushed, b"{}")
    assert toy.manifests[tag] == b'{"schemaVersion": 2}'


def test_nothing_is_attached_to_an_image_that_is_not_there(toy: Toy) -> None:
    assert registry.referrers(at(toy.address)) == ()


def test_no_step_holds_the_password(locked: str, tmp_path: Path) -> None:
    log_in(tmp_path, locked, **by_password())
    steps: list[Any] = []
    registry.push(at(locked, "team/quiet:1"), config(LOWER), [layer(LOWER)], steps.append)
    assert steps
    assert PASSWORD not in repr(steps)


def test_of_several_challenges_the_first_that_can_be_answered_counts() -> None:
    found = challenge_in(["Negotiate", 'Bearer realm="https://a.example/t, x",service=b', 'Basic realm="c"'])
    assert found is not None
    assert (found.scheme, found.realm, found.service) == ("bearer", "https://a.example/t, x", "b")
