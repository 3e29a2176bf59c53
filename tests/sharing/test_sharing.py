"""One builds and pushes, many pull and only link: by a folder, S3 and a registry, each a real one."""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kit import cli, cli_environ
from local_index import LocalIndex
from shared import NOWHERE, Place, answer_of, call
from tiny import wheel, write_model


@pytest.fixture
def pushed(place: Place, model: Path, index: LocalIndex, tmp_path: Path) -> str:
    """The hash of the model's lock, which is in the share."""
    return str(
        answer_of(call(tmp_path / "ci", "push", model, place.name, "--json", place=place, index=index.url))["lock_hash"]
    )


@pytest.mark.sampled(2)
def test_what_one_has_pushed_another_pulls_without_an_index_and_predicts(
    place: Place, model: Path, index: LocalIndex, pushed: str, home: Path, tmp_path: Path
) -> None:
    # The same question leads to the lock; nothing is resolved, and nothing built of an sdist.
    index.close()
    pulled = answer_of(call(home, "pull", model, place.name, "--json", place=place, index=index.url))
    assert (pulled["lock_hash"], pulled["built"], pulled["here"]) == (pushed, True, 0)
    (tmp_path / "in.json").write_text('{"inputs": [1]}')
    predicted = answer_of(call(home, "predict", model, tmp_path / "in.json", "--json", place=place, index=index.url))
    assert (predicted["predictions"], predicted["lock_hash"], predicted["built"]) == ([["1.0", "1.0"]], pushed, False)
    again = answer_of(call(home, "pull", model, place.name, "--json", place=place, index=index.url))
    assert (again["built"], again["fetched"], again["bytes"]) == (False, 0, 0)


def test_oras_pulls_what_was_pushed(
    oci_server: tuple[str, Path], model: Path, index: LocalIndex, tmp_path: Path
) -> None:
    from oras.client import OrasClient

    host, _ = oci_server
    here = Place(kind="oci", name=f"oci://{host}/team/oras", storage=tmp_path)
    words = ("push", model, here.name, "--json")
    lock_hash = answer_of(call(tmp_path / "ci", *words, place=here, index=index.url))["lock_hash"]
    client, out = OrasClient(hostname=host, insecure=True), tmp_path / "out"
    client.pull(target=f"{host}/team/oras:lock-{lock_hash}", outdir=str(out))
    # The names are those that the files have in a bundle, the contents those of the lock.
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    lock = next(path.read_text() for name, path in found.items() if name.startswith("locks/"))
    wheels = {name: path for name, path in found.items() if name.startswith("wheels/")}
    assert len(wheels) == 2
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in wheels.items()}
    assert digests[next(name for name in wheels if "fruit" in name)] in lock
    assert all(digest in found["manifest"].read_text() for digest in digests.values())


@pytest.mark.slow
def test_a_lock_beside_the_model_is_pulled_by_its_hash(
    place: Place, model: Path, index: LocalIndex, pushed: str, home: Path, tmp_path: Path
) -> None:
    assert (
        call(tmp_path / "ci", "lock", model, "-o", model / "pylock.toml", place=place, index=index.url).returncode == 0
    )
    # Whatever else was asked when it was pushed.
    pulled = answer_of(call(home, "pull", model, place.name, "--json", place=place, index="http://127.0.0.1:9/other/"))
    assert pulled["lock_hash"] == pushed


@pytest.mark.sampled(2)
def test_what_is_there_is_not_sent_again(
    place: Place, model: Path, index: LocalIndex, pushed: str, tmp_path: Path
) -> None:
    again = answer_of(call(tmp_path / "ci", "push", model, place.name, "--json", place=place, index=index.url))
    assert (again["lock_hash"], again["sent"], again["there"], again["bytes"]) == (pushed, 0, 3, 0)
    # Another lock shares what both have.
    index.add(wheel("seed", "1.0"))
    other = write_model(tmp_path / "other", pip=("fruit", "nut", "seed"))
    more = answer_of(call(tmp_path / "ci", "push", other, place.name, "--json", place=place, index=index.url))
    assert (more["lock_hash"] != pushed, more["there"]) == (True, 2)


def test_what_nobody_has_pushed_is_said(place: Place, model: Path, index: LocalIndex, home: Path) -> None:
    done = call(home, "pull", model, place.name, place=place, index=index.url)
    assert (done.returncode, "error[share-missing]" in done.stderr) == (5, True), done.stderr
    assert "envbuild push" in done.stderr


def spoilt(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.sampled(2)
def test_a_poisoned_file_is_refused_and_a_whole_one_then_taken(
    place: Place, model: Path, index: LocalIndex, pushed: str, home: Path
) -> None:
    wheels = {name: content for name, content in place.contents().items() if content[:2] == b"PK"}
    assert len(wheels) == 2
    for name, content in wheels.items():
        place.write(name, spoilt(content))
    done = call(home, "pull", model, place.name, place=place, index=index.url)
    assert (done.returncode, "error[share-poisoned]" in done.stderr) == (5, True), done.stderr
    # Neither is there any of it, nor of what was fetched before it, in an environment.
    assert not [
        path for path in home.rglob("*") if path.is_file() and path.read_bytes() in map(spoilt, wheels.values())
    ]
    assert not list(home.glob("store/v1/environments/*/*"))
    for name, content in wheels.items():
        place.write(name, content)
    assert (
        answer_of(call(home, "pull", model, place.name, "--json", place=place, index=index.url))["lock_hash"] == pushed
    )


@pytest.mark.sampled(2)
def test_another_locks_manifest_in_its_place_is_refused(
    place: Place, model: Path, index: LocalIndex, pushed: str, home: Path, tmp_path: Path
) -> None:
    """Whoever can write a share could otherwise give a model whatever they like."""
    if place.kind == "oci":
        return  # what has a digest there is what it says: a registry refuses it itself
    other = write_model(tmp_path / "other", pip=("fruit",))
    theirs = answer_of(call(tmp_path / "ci", "push", other, place.name, "--json", place=place, index=index.url))
    contents = place.contents()
    (own,), (of_theirs,) = (
        [one for one in contents if one.endswith(f"locks/{lock}")] for lock in (pushed, theirs["lock_hash"])
    )
    place.write(own, contents[of_theirs])
    done = call(home, "pull", model, place.name, place=place, index=index.url)
    assert (done.returncode, "it is of another lock" in done.stderr) == (5, True), done.stderr
    # Nor does a question lead to a lock that does not answer it.
    place.write(own, contents[own])
    for name, content in contents.items():
        if content == pushed.encode():
            place.write(name, theirs["lock_hash"].encode())
    done = call(home, "pull", model, place.name, place=place, index=index.url)
    assert (done.returncode, "error[lock-stale]" in done.stderr) == (4, True), done.stderr
    assert not list(home.glob("store/v1/locks/*"))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("beginning", ["its own", "another"])
def test_what_was_fetched_before_is_gone_on_with_and_believed_by_its_sha256_alone(
    place: Place, model: Path, index: LocalIndex, pushed: str, home: Path, beginning: str
) -> None:
    (home / "files").mkdir(parents=True)
    for content in place.contents().values():
        if content[:2] == b"PK":
            half = content[: len(content) // 2]
            own = home / "files" / f".pulled-{hashlib.sha256(content).hexdigest()}"
            own.write_bytes(half if beginning == "its own" else spoilt(half))
    pulled = answer_of(call(home, "pull", model, place.name, "--json", place=place, index=index.url))
    assert (pulled["lock_hash"], pulled["fetched"]) == (pushed, 3)
    assert not list((home / "files").glob(".pulled-*"))


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.mark.sampled(2)
def test_where_a_signature_is_demanded_nothing_else_is_taken(
    place: Place, model: Path, index: LocalIndex, pushed: str, home: Path, tmp_path: Path
) -> None:
    private, public = keys(tmp_path, "ours")
    _, of_others = keys(tmp_path, "theirs")
    demanded = ("pull", model, place.name, "--json", "--require-signature")
    unsigned = call(home, *demanded, public, place=place, index=index.url)
    assert (unsigned.returncode, "error[bundle-untrusted]" in unsigned.stderr) == (5, True), unsigned.stderr
    assert not [path for path in home.rglob("*") if path.is_file() and path.suffix == ".whl"]
    signed = ("push", model, place.name, "--json", "--sign-key", private)
    assert answer_of(call(tmp_path / "ci", *signed, place=place, index=index.url))["lock_hash"] == pushed
    wrong = call(home, *demanded, of_others, place=place, index=index.url)
    assert (wrong.returncode, "error[bundle-untrusted]" in wrong.stderr) == (5, True), wrong.stderr
    assert answer_of(call(home, *demanded, public, place=place, index=index.url))["lock_hash"] == pushed


@pytest.mark.sampled(2)
def test_nothing_that_lets_one_in_is_shared(place: Place, model: Path, index: LocalIndex, tmp_path: Path) -> None:
    index.login = ("deployer", "canary-of-index")
    url = index.with_login("deployer", "canary-of-index")
    done = call(tmp_path / "ci", "push", model, place.name, "-v", place=place, index=url)
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert not [name for name, content in place.contents().items() if b"canary" in content]


@pytest.mark.slow
def test_of_two_who_push_and_two_who_pull_at_once_all_are_right(
    place: Place, model: Path, index: LocalIndex, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as pool:
        pushes = [
            pool.submit(
                call, tmp_path / f"ci{number}", "push", model, place.name, "--json", place=place, index=index.url
            )
            for number in range(2)
        ]
        hashes = {answer_of(one.result())["lock_hash"] for one in pushes}
        pulls = [
            pool.submit(call, tmp_path / "home", "pull", model, place.name, "--json", place=place, index=index.url)
            for _ in range(2)
        ]
        pulled = [answer_of(one.result()) for one in pulls]
    assert len(hashes) == 1
    assert {one["lock_hash"] for one in pulled} == hashes
    assert sorted(one["built"] for one in pulled) == [False, True]


@pytest.mark.parametrize("name", ["ftp://h.invalid/x", "https://h.invalid/x", "oci://h.invalid/x:tag"])
def test_what_is_no_share_is_said(model: Path, home: Path, name: str) -> None:
    done = cli("pull", model, name, environ=cli_environ(home, NOWHERE))
    assert (done.returncode, "error[usage]" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("name", "code"),
    [("/nowhere/at/all", "share-unreachable"), ("oci://127.0.0.1:9/team/share", "registry-unreachable")],
)
def test_a_share_that_is_not_there_is_said(model: Path, home: Path, name: str, code: str) -> None:
    done = cli("pull", model, name, environ=cli_environ(home, NOWHERE))
    assert (done.returncode, f"error[{code}]" in done.stderr) == (5, True), done.stderr
