"""Object stores, by a server that speaks S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit import cli_environ
from servers import OF_ERAS, Run, S3Server

MODEL = OF_ERAS["middle"]


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> str:
    """A bucket of the test's own, with a model in it."""
    name = f"b{abs(hash(tmp_path))}"
    s3.put_model(name, "models/heart", MODEL)
    return name


def test_a_model_in_a_bucket_is_fetched_whole_to_run_and_in_part_to_be_looked_at(
    run: Run, s3: S3Server, bucket: str, home: Path
) -> None:
    uri = f"s3://{bucket}/models/heart"
    looked = json.loads(run("inspect", uri, "--json", **s3.environ).stdout)["model"]
    assert Path(looked["path"]).name == "heart"
    assert not list(home.rglob("model.pkl"))
    assert (Path(looked["path"]) / "conda.yaml").read_bytes() == (MODEL / "conda.yaml").read_bytes()
    # What runs it has all of it; and what was fetched whole serves to be looked at too.
    done = run("run", uri, "--conda-packages", "map", "--locked", "--", "true", **s3.environ)
    assert "error[lock-missing]" in done.stderr
    (weights,) = home.rglob("model.pkl")
    assert weights.read_bytes() == (MODEL / "model.pkl").read_bytes()
    again = json.loads(run("inspect", uri, "--json", **s3.environ).stdout)["model"]
    assert Path(again["path"]) == weights.parent
    assert json.loads(run("inspect", uri, "--json", "--offline").stdout)["model"]["path"] == again["path"]


def test_a_model_that_was_written_anew_is_another_one(run: Run, s3: S3Server, bucket: str) -> None:
    uri = f"s3://{bucket}/models/heart"
    first = run("run", uri, "--locked", "--", "true", **s3.environ)
    assert "model-changed" not in first.stderr
    content = (MODEL / "model.pkl").read_bytes()
    # As long as it was.
    s3.put(bucket, "models/heart/model.pkl", content[:-1] + bytes([content[-1] ^ 1]))
    changed = run("run", uri, "--locked", "--", "true", **s3.environ)
    assert f"warning[model-changed]: {uri} is another model than when it was last used here" in changed.stderr


@pytest.mark.slow
def test_nothing_of_the_credentials_is_said_or_kept(run: Run, s3: S3Server, bucket: str, home: Path) -> None:
    wrong = {**s3.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    found = run("inspect", f"s3://{bucket}/models/heart", "-v", **s3.environ)
    missing = run("inspect", f"s3://{bucket}/models/none", "-v", **s3.environ)
    above = run("inspect", f"s3://{bucket}/models", "-v", **s3.environ)
    gone = run("inspect", f"s3://{bucket}/models/heart", "-v", **wrong)
    assert [one.returncode for one in (found, missing, above, gone)] == [0, 3, 3, 3]
    assert "error[model-not-found]" in missing.stderr
    assert f"there is one below it: s3://{bucket}/models/heart" in above.stderr
    assert "error[model-unreachable]" in gone.stderr
    for done in (found, missing, above, gone):
        assert "canary" not in done.stdout + done.stderr
    assert not [path for path in home.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


def test_what_was_fetched_before_a_kill_is_not_fetched_again(s3: S3Server, home: Path, tmp_path: Path) -> None:
    bucket = f"k{abs(hash(tmp_path))}"
    s3.put_model(bucket, "heart", MODEL)
    large = os.urandom(48 * 2**20)
    s3.put(bucket, "heart/large.bin", large)
    words = [sys.executable, "-m", "envbuild", "run", f"s3://{bucket}/heart", "--locked", "--", "true"]
    environ = cli_environ(home, **s3.environ)
    partial = home / "models" / "partial"
    process = subprocess.Popen(words, env=environ, stderr=subprocess.DEVNULL, start_new_session=True)
    end, there = time.monotonic() + 60, 0
    while there < 8 * 2**20 and time.monotonic() < end and process.poll() is None:
        there = sum(path.stat().st_size for path in partial.rglob("large.bin"))
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (left,) = partial.rglob("large.bin")
    before = left.stat()
    assert 0 < before.st_size < len(large)
    subprocess.run(words, env=environ, stderr=subprocess.DEVNULL, check=False, timeout=120)
    (found,) = (home / "models").rglob("large.bin")
    assert partial not in found.parents
    # It is the same file, gone on with.
    assert (found.stat().st_ino, found.read_bytes() == large) == (before.st_ino, True)
    assert not list(partial.iterdir())
