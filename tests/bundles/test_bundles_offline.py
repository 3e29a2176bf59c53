"""From a bundle and an empty store to a prediction, where there is no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from kit import cli, cli_environ
from made import ANSWER, CANARY, NO_NETWORK, USER, Made, answer_of, code_of, offline

import envbuild


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "words",
    [
        ("--bundle", "BUNDLE", "INPUT"),
        ("INPUT", "--bundle", "BUNDLE"),
        ("BUNDLE", "INPUT"),
        ("MODEL", "INPUT", "--bundle", "BUNDLE"),
        ("BUNDLE", "INPUT", "--bundle", "BUNDLE"),
    ],
    ids=" ".join,
)
def test_a_model_predicts_from_a_bundle_and_an_empty_store_however_it_is_named(
    made: Made, home: Path, words: tuple[str, ...]
) -> None:
    known = {"BUNDLE": made.bundle, "INPUT": made.input, "MODEL": made.model}
    done = offline(home, "predict", *(known.get(word, word) for word in words), "--json")
    answer = answer_of(done)
    assert {"predictions": answer["predictions"]} == ANSWER
    assert (answer["built"], answer["lock_hash"]) == (True, made.lock_hash)
    # It is as good as any other: what it holds is what its lock says.
    assert cli("verify", made.lock_hash, environ=cli_environ(home)).returncode == 0


def test_every_command_takes_a_bundle(made: Made, home: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    rows.write_text('{"a": 1}\n{"a": 2}\n')
    bundle = ("--bundle", made.bundle)
    assert answer_of(offline(home, "lock", *bundle, "--json"))["source"] == str(made.bundle)
    assert answer_of(offline(home, "inspect", *bundle, "--json"))["lock"]["lock_hash"] == made.lock_hash
    assert "fruit" in offline(home, "explain", "fruit", *bundle).stdout
    built = answer_of(offline(home, "build", *bundle, "--json"))
    assert (built["built"], built["lock_hash"]) == (True, made.lock_hash)
    assert (
        offline(home, "run", *bundle, "--", "python", "-c", "import nut; print(nut.version)").stdout == "built by 1.0\n"
    )
    assert answer_of(offline(home, "check", *bundle, "--input", made.input, "--json"))["result"] == "works"
    done = offline(home, "batch", *bundle, rows, out)
    assert code_of(done) in ("output-invalid", "model-failed", None), done.stderr


def test_a_bundle_is_served(made: Made, home: Path, tmp_path: Path) -> None:
    argv = [*NO_NETWORK, sys.executable, "-m", "envbuild", "serve", "--bundle", str(made.bundle), "--json"]
    argv += ["--uds", str(tmp_path / "socket"), "--workers", "1"]
    with subprocess.Popen(argv, env=cli_environ(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        server.terminate()
        server.communicate(timeout=60)
    assert (said["lock_hash"], said["name"]) == (made.lock_hash, "model")


def test_what_was_imported_is_not_unpacked_again(made: Made, home: Path) -> None:
    assert offline(home, "build", made.bundle).returncode == 0

    def kept() -> dict[str, int]:
        return {str(path): path.lstat().st_ino for name in ("files", "bundles") for path in (home / name).rglob("*")}

    before = kept()
    assert before
    assert cli("envs", "rm", made.lock_hash, environ=cli_environ(home)).returncode == 0
    assert answer_of(offline(home, "build", made.bundle, "--json"))["built"] is True
    assert kept() == before


def test_the_model_of_a_bundle_is_closed_to_writers(made: Made, home: Path) -> None:
    assert offline(home, "inspect", made.bundle).returncode == 0
    (model,) = (home / "bundles" / "models").glob("*/model")
    modes = {path.stat().st_mode & 0o777 for path in model.rglob("*")}
    assert modes == {0o444, 0o555}
    assert (model / "MLmodel").read_bytes() == (made.model / "MLmodel").read_bytes()


def test_what_is_damaged_in_the_store_is_unpacked_again(made: Made, home: Path) -> None:
    assert offline(home, "inspect", made.bundle).returncode == 0
    (home / "files").mkdir()
    with tarfile.open(made.bundle) as archive:
        manifest = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    for one in manifest["files"]:
        if one["path"].startswith("wheels/"):
            (home / "files" / one["sha256"]).write_bytes(b"x" * one["size"])
    assert answer_of(offline(home, "predict", made.bundle, made.input)) == ANSWER


def test_the_caches_can_be_cleaned_of_bundles(made: Made, home: Path) -> None:
    assert offline(home, "build", made.bundle).returncode == 0
    assert cli("cache", "clean", environ=cli_environ(home)).returncode == 0
    assert not (home / "bundles").exists()
    assert answer_of(offline(home, "predict", made.bundle, made.input)) == ANSWER


def test_a_bundle_without_its_model_runs_the_model_beside_it(made: Made, home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "wheels.bundle"
    done = cli("bundle", "export", made.model, "-o", bundle, "--without-model", environ=made.environ())
    assert done.returncode == 0, done.stderr
    assert answer_of(offline(home, "predict", made.model, made.input, "--bundle", bundle)) == ANSWER
    assert code_of(offline(home, "predict", "--bundle", bundle, made.input)) == "model-not-found"
    assert code_of(offline(home, "predict", bundle, made.input)) == "bundle-incomplete"


def test_a_model_that_asks_for_something_else_is_refused(made: Made, home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for path in made.model.rglob("*"):
        if path.is_file():
            (other / path.relative_to(made.model)).parent.mkdir(parents=True, exist_ok=True)
            (other / path.relative_to(made.model)).write_bytes(path.read_bytes())
    text = (other / "conda.yaml").read_text()
    (other / "conda.yaml").write_text(text.replace('"fruit"', '"fruit==2.0"'))
    assert code_of(offline(home, "build", other, "--bundle", made.bundle)) == "lock-stale"


def test_what_was_changed_for_a_bundle_is_said_again_where_it_is_used(made: Made, home: Path, tmp_path: Path) -> None:
    bundle, change = tmp_path / "changed.bundle", ("--remove", "fruit")
    done = cli("bundle", "export", made.model, "-o", bundle, *change, environ=made.environ())
    assert done.returncode == 0, done.stderr
    changed = answer_of(offline(home, "build", bundle, *change, "--json"))
    assert changed["lock_hash"] != made.lock_hash
    done = offline(home, "build", bundle)
    assert code_of(done) == "lock-stale"
    assert "fruit" in done.stderr


@pytest.mark.parametrize("words", [("--update",), ("--lock", "pylock.toml")], ids=" ".join)
def test_what_a_bundle_decides_is_not_said_twice(made: Made, home: Path, words: tuple[str, ...]) -> None:
    assert code_of(offline(home, "lock", "--bundle", made.bundle, *words)) == "usage"


def test_a_bundle_is_a_model_in_python_too(made: Made, home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "again.bundle"
    index_url = made.index.with_login(USER, CANARY)
    exported = envbuild.export_bundle(made.model, bundle, home=made.home, index_url=index_url, conda_packages="map")
    assert exported.sha256
    assert bundle.read_bytes() == made.bundle.read_bytes()
    assert envbuild.predict(bundle, [1], home=home, conda_packages="map") == ANSWER["predictions"]
    assert envbuild.lock(made.model, bundle=bundle, home=home, conda_packages="map").hash == made.lock_hash


def test_the_index_s_credentials_are_nowhere(made: Made, home: Path) -> None:
    assert offline(home, "build", made.bundle).returncode == 0
    assert CANARY.encode() not in made.bundle.read_bytes()
    for folder, _, files in os.walk(made.home):
        for name in files:
            assert CANARY.encode() not in Path(folder, name).read_bytes(), name
