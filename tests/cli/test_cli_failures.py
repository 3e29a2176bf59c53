"""Every kind of failure: its exit code, its stable code, a message that says what and where; never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from calling import HERE, Call, MakeTiny, Start, gone, running_with, wait_for
from local_index import LocalIndex

MLMODEL = "flavors:\n  python_function:\n    loader_module: tiny_loader\n"

# What is wrong, files of the model directory `m`, the call, its exit code, its code, and words of the message.
BAD: list[tuple[str, dict[str, str], list[str], int, str, str]] = [
    ("no command of that name", {}, ["nope"], 2, "usage", "nope"),
    ("no such option", {}, ["inspect", "m", "--nope"], 2, "usage", "--nope"),
    ("no model", {}, ["predict"], 2, "usage", "MODEL"),
    ("too many arguments", {}, ["inspect", "m", "n"], 2, "usage", "n"),
    ("an option without its value", {}, ["build", "m", "--index-url"], 2, "usage", "--index-url"),
    ("a choice that there is not", {"MLmodel": MLMODEL}, ["predict", "m", "--nan", "x"], 2, "usage", "'string'"),
    ("not a number", {}, ["predict", "m", "--load-timeout", "soon"], 2, "usage", "soon"),
    ("no time at all", {"MLmodel": MLMODEL}, ["predict", "m", "i", "--load-timeout", "0"], 2, "usage", "above 0"),
    ("less than no time", {"MLmodel": MLMODEL}, ["predict", "m", "--predict-timeout", "-1"], 2, "usage", "above 0"),
    ("no Python version", {"MLmodel": MLMODEL}, ["inspect", "m", "--python", "new"], 2, "usage", "--python is 'new'"),
    ("an empty Python", {"MLmodel": MLMODEL}, ["inspect", "m", "--python", ""], 2, "usage", "--python"),
    ("no date", {"MLmodel": MLMODEL}, ["lock", "m", "--python", HERE, "--as-of", "May"], 2, "usage", "2021-04-30"),
    ("no such day", {"MLmodel": MLMODEL}, ["lock", "m", "--python", HERE, "--as-of", "2021-02-30"], 2, "usage", "02-30"),
    ("a shell that we don't know", {}, ["completion", "tcsh"], 2, "usage", "tcsh"),
    ("nothing to run", {"MLmodel": MLMODEL}, ["run", "m"], 2, "usage", "COMMAND"),
    ("a log file nowhere", {"MLmodel": MLMODEL}, ["inspect", "m", "--log-file", "no/log"], 2, "usage", "no/log"),
    ("a log file that is a directory", {"MLmodel": MLMODEL}, ["inspect", "m", "--log-file", "m"], 2, "usage", "'m'"),
    ("an answer nowhere", {"MLmodel": MLMODEL}, ["predict", "m", "i", "-o", "no/a"], 2, "usage", "no directory no"),
    ("an answer over a directory", {"MLmodel": MLMODEL}, ["predict", "m", "i", "-o", "m"], 2, "usage", "m is a directory"),
    ("a lock nowhere", {"MLmodel": MLMODEL}, ["lock", "m", "-o", "no/pylock.toml"], 2, "usage", "no directory no"),
    ("no name for a lock", {"MLmodel": MLMODEL}, ["lock", "m", "-o", "lockfile"], 2, "usage", "pylock.NAME.toml"),
    ("no model directory", {}, ["inspect", "nowhere"], 3, "model-not-found", "nowhere"),
    ("a model path of two lines", {}, ["inspect", "no\nwhere"], 3, "model-not-found", "where"),
    ("a file for a model", {}, ["inspect", "/dev/null"], 3, "model-not-found", "/dev/null"),
    ("no MLmodel", {"other": ""}, ["inspect", "m"], 3, "model-not-found", "no MLmodel file"),
    ("MLmodel is one deeper", {"inner/MLmodel": MLMODEL}, ["inspect", "m"], 3, "model-not-found", "did you mean one of: inner"),
    ("MLmodel is no YAML", {"MLmodel": "a: [1,\n"}, ["inspect", "m"], 3, "model-unreadable", "m/MLmodel:2"),
    ("MLmodel is binary", {"MLmodel": "\x00\x01"}, ["inspect", "m"], 3, "model-unreadable", "m/MLmodel"),
    ("MLmodel is more than data", {"MLmodel": "flavors: !!python/name:os.system\n"}, ["inspect", "m"], 3, "model-unreadable", "MLmodel:1"),
    ("an empty MLmodel", {"MLmodel": ""}, ["inspect", "m"], 3, "model-invalid", "no flavors"),
    ("no pyfunc", {"MLmodel": "flavors:\n  onnx: {}\n"}, ["build", "m"], 3, "model-no-pyfunc", "it has: onnx"),
    ("no loader", {"MLmodel": "flavors:\n  python_function: {data: x}\n"}, ["build", "m"], 3, "model-invalid", "MLmodel:2"),
    ("code elsewhere", {"MLmodel": MLMODEL + "    code: ../x\n"}, ["build", "m"], 3, "model-invalid", "MLmodel:4"),
    ("a signature that is no JSON", {"MLmodel": MLMODEL + "signature:\n  inputs: '[{'\n"}, ["inspect", "m"], 3, "model-invalid", "MLmodel:5"),
    ("no requirement", {"MLmodel": MLMODEL, "requirements.txt": "numpy\n!!\n"}, ["lock", "m"], 4, "spec-invalid", "requirements.txt:2"),
    ("an unknown option line", {"MLmodel": MLMODEL, "requirements.txt": "--nope x\n"}, ["lock", "m"], 4, "spec-invalid", "requirements.txt:1"),
    ("files that include each other", {"MLmodel": MLMODEL, "requirements.txt": "-r requirements.txt\n"}, ["lock", "m"], 4, "spec-invalid", "each other"),
    ("an unknown conda package", {"MLmodel": MLMODEL, "conda.yaml": "dependencies:\n- some-tool=4\n"}, ["lock", "m"], 4, "spec-invalid", "conda.yaml:2"),
    ("no Python that is", {"MLmodel": MLMODEL}, ["build", "m", "--python", "3.99"], 4, "python-not-found", "3.99"),
    ("no file for a Python", {"MLmodel": MLMODEL}, ["build", "m", "--python", "./py"], 4, "python-not-found", "no file ./py"),
    ("not a Python", {"MLmodel": MLMODEL}, ["build", "m", "--python", "/bin/ls"], 4, "python-not-found", "/bin/ls is no CPython"),
    ("no lock where one is named", {"MLmodel": MLMODEL}, ["build", "m", "--lock", "pylock.toml"], 4, "lock-missing", "pylock.toml"),
    ("no lock where one is demanded", {"MLmodel": MLMODEL}, ["build", "m", "--locked"], 4, "lock-missing", "m/pylock.toml"),
    ("a lock that is no TOML", {"MLmodel": MLMODEL, "pylock.toml": "= ="}, ["build", "m"], 4, "lock-invalid", "m/pylock.toml"),
    ("a lock that is no lock", {"MLmodel": MLMODEL, "pylock.toml": "a = 1"}, ["build", "m"], 4, "lock-invalid", "lock-version"),
    ("a lock by another name", {"MLmodel": MLMODEL, "my.lock": ""}, ["build", "m", "--lock", "m/my.lock"], 4, "lock-invalid", "my.lock"),
    ("nothing kept and no network", {"MLmodel": MLMODEL}, ["lock", "m", "--python", HERE, "--offline"], 4, "lock-unresolvable", "network"),
    ("no input of that name", {"MLmodel": MLMODEL}, ["predict", "m", "none.json"], 6, "input-not-found", "none.json"),
    ("a directory for an input", {"MLmodel": MLMODEL}, ["predict", "m", "m"], 6, "input-not-found", "directory"),
    ("no input and no example", {"MLmodel": MLMODEL}, ["predict", "m"], 6, "input-not-found", "example"),
    ("an ending that says nothing", {"MLmodel": MLMODEL, "i.txt": ""}, ["predict", "m", "m/i.txt"], 6, "input-invalid", "--content-type"),
]  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("files", "arguments", "exit_code", "code", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_call_says_what_is_wrong(
    call: Call, tmp_path: Path, files: dict[str, str], arguments: list[str], exit_code: int, code: str, words: str
) -> None:
    for name, text in files.items():
        path = tmp_path / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "i").touch()
    done = call(*arguments)
    assert (done.code, done.error) == (exit_code, code), done.stderr
    assert words in done.stderr
    assert done.stdout == ""


BAD_SETTINGS = [
    ("ENVBUILD_ENGINE", "conda", "uv"),
    ("ENVBUILD_NAN", "zero", "null"),
    ("ENVBUILD_PYTHON_POLICY", "any", "exact"),
    ("ENVBUILD_MODEL_INDEXES", "some", "known"),
    ("ENVBUILD_OFFLINE", "maybe", "1 or 0"),
    ("ENVBUILD_LOCK_TIMEOUT", "nan", "seconds"),
    ("ENVBUILD_HOME", " ", "empty path"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD_SETTINGS)
def test_a_bad_setting_is_named(call: Call, tiny: MakeTiny, name: str, value: str, words: str) -> None:
    done = call("inspect", tiny().path, env={name: value})
    assert (done.code, done.error) == (2, "usage")
    assert name in done.stderr
    assert words in done.stderr


def test_a_store_that_cannot_be_written_is_named(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call("build", tiny().path, env={"ENVBUILD_HOME": str(tmp_path / "file" / "store")})
    assert (done.code, done.error) == (5, "store-unusable"), done.stderr
    assert str(tmp_path / "file") in done.stderr


def test_requirements_that_nobody_can_meet_are_said_with_their_lines(call: Call, tiny: MakeTiny) -> None:
    done = call("lock", tiny(pip=("fruit==7.0",)).path)
    assert (done.code, done.error) == (4, "lock-unresolvable")
    assert "fruit==7.0" in done.stderr
    assert "conda.yaml:4" in done.stderr


def test_an_index_that_refuses(call: Call, tiny: MakeTiny, private_index: LocalIndex) -> None:
    done = call("lock", tiny().path, "--index-url", private_index.url)
    assert (done.code, done.error) == (4, "index-unreachable"), done.stderr
    assert "netrc" in done.stderr


def test_resolving_has_a_time_limit(call: Call, tiny: MakeTiny, sluggish_index: LocalIndex) -> None:
    done = call("lock", tiny().path, "--index-url", sluggish_index.url, env={"ENVBUILD_LOCK_TIMEOUT": "0.5"})
    assert (done.code, done.error) == (4, "lock-timed-out")
    assert "ENVBUILD_LOCK_TIMEOUT" in done.stderr


def test_a_stale_lock_is_refused_where_it_was_named_and_set_aside_where_it_was_found(
    call: Call, tiny: MakeTiny
) -> None:
    model = tiny()
    lock = model.path / "pylock.toml"
    assert call("lock", model.path, "-o", lock).code == 0
    conda = model.path / "conda.yaml"
    conda.write_text(conda.read_text() + "  - fruit==1.0\n")
    named = call("build", model.path, "--lock", lock)
    assert (named.code, named.error) == (4, "lock-stale")
    assert "it lacks fruit==1.0" in named.stderr
    assert "conda.yaml:4" in named.stderr
    assert call("build", model.path, "--locked").error == "lock-stale"
    found = call("lock", model.path, "--json")
    assert found.code == 0
    assert "lock-stale" in [notice["code"] for notice in found.json["notices"]]
    assert "fruit" in [package["name"] for package in found.json["packages"]]


def test_a_lock_edited_by_hand_is_refused(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    lock = model.path / "pylock.toml"
    call("lock", model.path, "-o", lock)
    text = lock.read_text()
    lock.write_text(text.replace('python-tag = "cp3', 'python-tag = "cp2', 1))
    assert call("build", model.path, "--locked").error == "lock-stale"
    digest = text.partition("sha256 = ")[2][1:65]
    lock.write_text(text.replace(digest, digest[::-1]))
    done = call("build", model.path)
    assert (done.code, done.error) == (4, "lock-invalid")
    assert str(lock) in done.stderr


def test_a_file_that_is_not_the_locked_one_is_not_installed(call: Call, tiny: MakeTiny) -> None:
    model = tiny(pip=("fruit==1.0",))
    lock = model.path / "pylock.toml"
    call("lock", model.path, "-o", lock)
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("hash = ")]
    text = "\n".join(lines)
    digest = text.partition('name = "fruit"')[2].partition("sha256 = ")[2][1:65]
    lock.write_text(text.replace(digest, "0" * 64))
    done = call("build", model.path)
    assert (done.code, done.error) == (5, "build-hash-mismatch"), done.stderr
    assert "fruit" in done.stderr


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("", "input-invalid", "is not JSON"),
        ("{", "input-invalid", "is not JSON"),
        ("[" * 100_000, "input-invalid", "nested too deeply"),
        ("3", "input-invalid", "number"),
        ("{}", "input-invalid", "dataframe_split"),
        ('{"inputs": [1], "instances": [1]}', "input-invalid", "inputs"),
        ('{"inputs": [1], "params": 3}', "input-invalid", "params"),
        ('{"inputs": [1], "params": {"a": 1}}', "input-mismatch", "params"),
        ('{"dataframe_records": [{"a": 1}, 2]}', "input-invalid", "record 1 is a number"),
    ],
)
def test_an_input_that_cannot_be_understood(call: Call, tiny: MakeTiny, content: str, code: str, words: str) -> None:
    done = call("predict", tiny().path, "-", stdin=content.encode())
    assert (done.code, done.error) == (6, code), done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_an_input_that_does_not_fit_the_signature(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    columns = json.dumps([{"name": "weight", "type": "double"}, {"name": "colour", "type": "string"}])
    (tmp_path / "i.json").write_text('{"inputs": {"weight": [1.0]}}')
    done = call("predict", tiny(mlmodel=f"signature:\n  inputs: '{columns}'\n").path, "i.json")
    assert (done.code, done.error) == (6, "input-mismatch"), done.stderr
    assert "colour" in done.stderr


def test_a_content_type_that_nobody_reads(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    done = call("predict", model.path, model.input(1), "--content-type", "text/html")
    assert (done.code, done.error) == (6, "input-invalid")
    assert "application/json" in done.stderr


@pytest.mark.parametrize(
    ("verb", "options", "exit_code", "code", "words"),
    [
        ("raise", [], 7, "model-raised", "ValueError: there is no such fruit"),
        ("exit", [], 7, "model-raised", "sys.exit(3)"),
        ("end", [], 7, "worker-exited", "status 5"),
        ("set", [], 7, "output-invalid", "predictions[0]"),
        ("nan", ["--nan", "error"], 7, "output-invalid", "predictions[0]"),
        ("kill", [], 8, "worker-killed", "SIGKILL"),
    ],
)
def test_a_model_that_fails(
    call: Call, tiny: MakeTiny, verb: str, options: list[str], exit_code: int, code: str, words: str
) -> None:
    model = tiny()
    done = call("predict", model.path, model.input(verb), *options, tracebacks=True)
    assert (done.code, done.error) == (exit_code, code), done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    # The model's own traceback, and nothing of envbuild's.
    assert ("Traceback" in done.stderr) == (verb == "raise")
    assert "/envbuild/cli/" not in done.stderr


def test_a_model_that_cannot_be_loaded(call: Call, tiny: MakeTiny) -> None:
    model = tiny(loader="import a_module_that_is_not_there\n")
    done = call("predict", model.path, model.input(1), tracebacks=True)
    assert (done.code, done.error) == (7, "model-not-loaded")
    assert "a_module_that_is_not_there" in done.stderr


def test_a_model_that_takes_too_long(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    model, pids = tiny(), tmp_path / "pids"
    done = call("predict", model.path, model.input("sleep", str(pids)), "--predict-timeout", "0.5", tracebacks=True)
    assert (done.code, done.error) == (8, "timed-out")
    assert "0.5 seconds" in done.stderr
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_a_model_that_takes_too_long_to_load(call: Call, tiny: MakeTiny) -> None:
    model = tiny(loader="import time\ntime.sleep(60)\n")
    done = call("predict", model.path, model.input(1), "--load-timeout", "0.5", tracebacks=True)
    assert (done.code, done.error) == (8, "timed-out")
    assert "not loaded within 0.5 seconds" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_prediction_leaves_nobody_behind(
    start: Start, tiny: MakeTiny, tmp_path: Path, number: signal.Signals
) -> None:
    model, pids = tiny(), tmp_path / "pids"
    process = start("predict", model.path, model.input("sleep", str(pids)))
    children = wait_for(pids, process).split()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == b""
    assert b"error[interrupted]" in err
    assert b"Traceback" not in err
    assert all(gone(int(pid)) for pid in children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lock_leaves_nobody_behind(
    start: Start, tiny: MakeTiny, tmp_path: Path, sluggish_index: LocalIndex, number: signal.Signals
) -> None:
    home = str(tmp_path / "store")
    process = start("lock", tiny().path, "--index-url", sluggish_index.url, env={"ENVBUILD_HOME": home})
    assert sluggish_index.waiting.wait(20)
    assert running_with(f"{home}/uv")
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"error[interrupted]" in err
    assert not running_with(f"{home}/uv")


def test_a_killed_envbuild_takes_its_worker_along(start: Start, tiny: MakeTiny, tmp_path: Path) -> None:
    model, pids = tiny(), tmp_path / "pids"
    process = start("predict", model.path, model.input("sleep", str(pids)))
    children = wait_for(pids, process).split()
    process.kill()
    process.wait()
    assert all(gone(int(pid)) for pid in children)


@pytest.mark.parametrize(
    ("redirection", "arguments", "exit_code", "words"),
    [
        ("<&-", ["predict", "-"], 6, "no standard input"),
        (">/dev/full", ["inspect"], 2, "No space left"),
        (">/dev/full", ["inspect", "--json"], 2, "No space left"),
        (">/dev/full", ["predict", "i.json"], 2, "No space left"),
        (">&-", ["inspect"], 2, "no standard output"),
        (">&-", ["predict", "i.json"], 2, "no standard output"),
        ("2>&-", ["inspect"], 0, ""),
        ("2>/dev/full", ["inspect"], 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(
    cli_environ: dict[str, str],
    tiny: MakeTiny,
    tmp_path: Path,
    redirection: str,
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    model = tiny()
    (tmp_path / "i.json").write_text('{"inputs": [1]}')
    command, *more = arguments
    argv = [
        "/bin/sh",
        "-c",
        f'exec "$0" "$@" {redirection}',
        sys.executable,
        "-m",
        "envbuild",
        command,
        str(model.path),
    ]
    done = subprocess.run(
        [*argv, *more], env=cli_environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == exit_code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_goes_away_is_no_fault(start: Start, tiny: MakeTiny) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("inspect", tiny().path, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=20)
    assert err == b""
    assert process.returncode == 1


def test_an_error_as_json_says_the_same(call: Call, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("flavors:\n  onnx: {}\n")
    done = call("predict", "m", "--json")
    answer = done.json
    assert answer.pop("schema_version") == 1
    assert (answer.pop("command"), answer.pop("ok")) == ("predict", False)
    assert set(answer) == {"error"}
    error = answer["error"]
    assert set(error) == {"code", "exit_code", "message", "hint", "place", "details"}
    assert (error["code"], error["exit_code"]) == ("model-no-pyfunc", 3)
    assert error["place"] == {"file": str(tmp_path / "m" / "MLmodel"), "line": 2}
    assert done.error == "model-no-pyfunc"


def test_a_usage_error_is_json_too(call: Call) -> None:
    assert call("predict", "--json").json["error"]["code"] == "usage"
    assert call("nope", "--json").json["command"] is None
    # After `--` it is the command's own option.
    assert call("run", "nowhere", "--", "true", "--json").stdout == ""
