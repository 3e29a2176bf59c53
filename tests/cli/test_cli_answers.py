"""What the commands answer: stdout, stderr, files, JSON, and what they pass on."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from calling import CANARY, HERE, USER, Call, MakeTiny, Start
from click.testing import CliRunner
from local_index import LocalIndex

from envbuild import cli

ENVELOPE = {"schema_version", "command", "ok", "notices"}
KEYS = {
    "inspect": {"model", "signature", "environment", "repairs", "lock"},
    "lock": {
        "lock_hash",
        "python",
        "target",
        "as_of",
        "as_of_reason",
        "packages",
        "conda",
        "conda_reason",
        "overrides",
        "source",
        "file",
    },
    "build": {"lock_hash", "path", "python", "built", "seconds", "lock_source"},
    "predict": {"predictions", "nulls", "lock_hash", "built"},
    "run": {"returncode", "stdout", "stderr", "seconds", "lock_hash"},
    "push": {"share", "lock_hash", "sent", "there", "bytes"},
    "pull": {"share", "lock_hash", "path", "built", "fetched", "here", "bytes"},
    "verify": {"environments", "images", "repaired"},
    "batch": {
        "rows",
        "skipped",
        "nulled",
        "nulls",
        "seconds",
        "resumed",
        "workers",
        "chunk_rows",
        "lock_hash",
        "files",
    },
    "workers list": {"workers"},
    "workers stop": {"stopped"},
    "envs list": {"environments"},
    "envs show": {"environments"},
    "envs gc": {"dry_run", "removed", "cleaned", "before", "after", "left"},
    "envs pin": {"environments"},
    "envs rm": {"removed"},
    "cache dir": {"home"},
    "cache size": {"bytes"},
    "cache clean": {"before", "after"},
    "doctor": {"fine", "groups"},
    "explain": {
        "as_of",
        "as_of_reason",
        "conda",
        "lock_hash",
        "lock_source",
        "model",
        "overrides",
        "packages",
        "python",
        "repairs",
        "target",
    },
    "check": {
        "comparison",
        "difference",
        "environments",
        "exit_code",
        "expected",
        "hint",
        "input",
        "model",
        "one_environment",
        "overrides",
        "result",
        "summary",
        "tolerance",
    },
    "diff": {"a", "added", "b", "builds", "changed", "equal", "python", "removed", "same", "target"},
    "completion": {"shell", "script"},
    "bundle export": {"file", "sha256", "size", "manifest"},
    "bundle inspect": {"file", "digest", "signed_by", "manifest"},
    "bundle verify": {"file", "digest", "signed_by", "manifest", "signature_checked"},
}


@pytest.mark.slow
def test_every_command_answers_with_its_keys(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    rows = model.path.parent / "rows.jsonl"
    rows.write_text('{"x": 1}\n')
    more: dict[str, list[object]] = {
        "inspect": [model.path],
        "lock": [model.path],
        "build": [model.path],
        "predict": [model.path, model.input(1)],
        "run": [model.path],
        "bundle export": [model.path, "-o", rows.with_name("tiny.bundle")],
        "bundle inspect": [rows.with_name("tiny.bundle")],
        "bundle verify": [rows.with_name("tiny.bundle")],
        "push": [model.path, rows.parent],
        "pull": [model.path, rows.parent],
        "verify": [model.path],
        "batch": [model.path, rows, rows.with_name("answers.jsonl")],
        "workers list": [],
        "workers stop": ["--all"],
        "envs list": [],
        "envs show": [model.path],
        "envs gc": [],
        "envs pin": [model.path, "--remove"],
        "envs rm": [model.path],
        "cache dir": [],
        "cache size": [],
        "cache clean": [],
        "doctor": [],
        "explain": [model.path],
        "check": [model.path, "--input", model.input(1)],
        "diff": [model.path, model.path],
        "completion": ["bash"],
    }
    assert set(more) == set(KEYS)
    # Images need a daemon, and a server goes on: tests/images and tests/server have what they answer.
    assert {name.split()[0] for name in more} == set(cli.COMMANDS) - {"image", "serve"}
    for command, arguments in more.items():
        done = call(*command.split(), *arguments, "--json", *(["--", "true"] if command == "run" else []))
        answer = done.json
        assert set(answer) == ENVELOPE | KEYS[command], command
        assert (answer["schema_version"], answer["command"], answer["ok"]) == (1, command, True)


def test_build_says_where_the_environment_is_and_whether_it_was_built(call: Call, tiny: MakeTiny) -> None:
    model = tiny(pip=("fruit",), created="2024-05-05 10:00:00")
    first, second = (call("build", model.path, "--json").json for _ in range(2))
    assert (first["built"], second["built"]) == (True, False)
    assert first["path"] == second["path"] == call("build", model.path).stdout.strip()
    assert first["lock_hash"] in first["path"]
    assert first["seconds"] > 0

    def inside(code: str) -> str:
        argv = [f"{first['path']}/bin/python", "-I", "-c", code]
        return str(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip())

    assert inside("import platform; print(platform.python_version())") == first["python"]
    # 2.0 is younger than the model.
    assert inside("import fruit; print(fruit.version)") == "1.0"


def test_stdout_has_the_answer_alone(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    done = call("predict", model.path, model.input("print"))
    assert done.stdout == '{"predictions": ["print"]}\n'
    assert "the model prints" in done.stderr
    assert "so does its child" in done.stderr
    assert json.loads(call("predict", model.path, model.input("print"), "--json").stdout)["predictions"] == ["print"]


def test_nulls_for_nan_are_counted(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    done = call("predict", model.path, model.input("nan"))
    assert done.stdout == '{"predictions": [null, 1.0]}\n'
    assert done.stderr.startswith("warning[nan-null]: 1 values")
    answer = call("predict", model.path, model.input("nan"), "--json").json
    assert (answer["nulls"], [notice["code"] for notice in answer["notices"]]) == (1, ["nan-null"])
    assert (
        call("predict", model.path, model.input("nan"), "--nan", "string").stdout == '{"predictions": ["NaN", 1.0]}\n'
    )
    assert call("predict", model.path, model.input("nan"), env={"ENVBUILD_NAN": "string"}).stderr == ""


def test_an_answer_is_the_models_own_and_is_not_redacted(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    expected = ["https://user:word@host.example/"]
    assert call("predict", model.path, model.input("url"), "--json").json["predictions"] == expected
    assert json.loads(call("predict", model.path, model.input("url")).stdout)["predictions"] == expected


def test_an_answer_without_the_usual_form_stands_under_a_key_of_its_own(
    call: Call, tiny: MakeTiny, tmp_path: Path
) -> None:
    (tmp_path / "i.json").write_text('{"prompt": "hello", "ok": false, "predictions": 3}')
    model = tiny()
    assert json.loads(call("predict", model.path, "i.json").stdout)["predictions"] == 3
    answer = call("predict", model.path, "i.json", "--json").json
    assert answer["ok"] is True
    assert answer["answer"] == {"prompt": "hello", "ok": False, "predictions": 3}


def test_quiet_means_errors_alone(call: Call, tiny: MakeTiny) -> None:
    model = tiny(created="2023-05-05 10:00:00", pip=("fruit",))
    (model.path / "requirements.txt").write_text("apple\n")
    loud = call("build", model.path)
    assert "requirement-disagrees" in loud.stderr
    quiet = call("build", model.path, "-q", "--update")
    assert (quiet.code, quiet.stderr) == (0, "")
    failed = call("predict", model.path, "nothing.json", "-q")
    assert failed.error == "input-not-found"
    assert all(line.startswith(("error[", "  ")) for line in failed.stderr.splitlines())


def test_the_log_file_has_steps_notices_and_errors(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    model, log = tiny(created="2023-06-06 10:00:00", pip=("fruit",)), tmp_path / "log"
    (model.path / "requirements.txt").write_text("apple\n")
    call("predict", model.path, model.input("print"), "-q", "--log-file", log)
    text = log.read_text()
    assert "resolving 4 requirements" in text
    assert "warning[requirement-disagrees]" in text
    assert "the model prints" in text
    call("predict", model.path, model.input("raise"), "--log-file", log, tracebacks=True)
    assert log.read_text().startswith(text)
    assert "error[model-raised]" in log.read_text()
    call("inspect", model.path, "--log-file", tmp_path / "log2")
    assert "warning[requirement-disagrees]" in (tmp_path / "log2").read_text()


def test_credentials_are_nowhere(call: Call, tiny: MakeTiny, private_index: LocalIndex, tmp_path: Path) -> None:
    url = private_index.with_login(USER, CANARY)
    store = tmp_path / "store"
    model = tiny(pip=("fruit==1.0",))
    (model.path / "pip.txt").write_text(f"--extra-index-url https://{USER}:{CANARY}@index.example/simple\n")
    with (model.path / "conda.yaml").open("a") as file:
        file.write("  - -r pip.txt\n")
    env = {"ENVBUILD_HOME": str(store), "ENVBUILD_INDEX_URL": url}
    said = []
    for arguments in (
        ["inspect", model.path],
        ["inspect", model.path, "--json"],
        ["lock", model.path, "-o", tmp_path / "pylock.toml", "-v", "--log-file", tmp_path / "log"],
        ["lock", model.path, "--json"],
        ["lock", model.path, "--format", "requirements"],
        ["predict", model.path, model.input("environ"), "--json", "--log-file", tmp_path / "log"],
        ["run", model.path, "--json", "--", "env"],
    ):
        done = call(*arguments, env=env)
        assert done.code == 0, done.stderr
        said.append(done.stdout + done.stderr)
    # A wrong name: uv's own words about the index are shown.
    failed = call("lock", tiny("other", pip=("plum",)).path, env=env)
    assert failed.code == 4
    said.append(failed.stderr)
    assert not [text for text in said if CANARY in text]
    files = [path for top in (store, tmp_path / "log", tmp_path / "pylock.toml") for path in [top, *top.rglob("*")]]
    assert not [path for path in files if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_an_answer_in_a_file_is_whole_or_the_old_one(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    model, answer = tiny(), tmp_path / "answer.json"
    done = call("predict", model.path, model.input(1), "-o", answer)
    assert (done.stdout, answer.read_text()) == ("", '{"predictions": [1]}\n')
    answer.chmod(0o640)
    assert call("predict", model.path, model.input("raise"), "-o", answer, tracebacks=True).code == 7
    assert answer.read_text() == '{"predictions": [1]}\n'
    link = tmp_path / "link"
    link.symlink_to(answer)
    assert call("predict", model.path, model.input(2), "-o", link).code == 0
    assert (link.is_symlink(), answer.read_text()) == (True, '{"predictions": [2]}\n')
    assert answer.stat().st_mode & 0o777 == 0o640
    assert call("predict", model.path, model.input(3), "-o", "/dev/null").code == 0
    assert [path.name for path in tmp_path.glob(".answer*")] == []


def test_input_from_stdin_and_from_the_models_example(call: Call, tiny: MakeTiny) -> None:
    model = tiny(mlmodel="saved_input_example_info:\n  artifact_path: example.json\n")
    (model.path / "example.json").write_text('{"inputs": [7]}')
    assert call("predict", model.path, "-", stdin=b'{"inputs": [5]}').stdout == '{"predictions": [5]}\n'
    assert call("predict", model.path).stdout == '{"predictions": [7]}\n'


def test_a_content_type_says_what_the_ending_does_not(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text('{"inputs": [5]}')
    done = call("predict", tiny().path, "input.txt", "--content-type", "application/json; charset=utf-8")
    assert done.stdout == '{"predictions": [5]}\n'


def test_the_model_gets_nothing_of_the_callers_environment(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    seen = json.loads(call("predict", model.path, model.input("environ"), env={"MY_TOKEN": "t"}).stdout)["predictions"]
    assert "MY_TOKEN" not in seen
    assert not [name for name in seen if name.startswith(("PYTHON", "ENVBUILD_"))]


def test_lock_prints_writes_and_finds_itself_again(call: Call, tiny: MakeTiny) -> None:
    model = tiny(pip=("fruit",))
    printed = call("lock", model.path).stdout
    lock = model.path / "pylock.toml"
    said = call("lock", model.path, "-o", lock)
    assert said.stdout.startswith(f"{lock}: 4 packages, lock hash ")
    assert lock.read_text() == printed
    answer = call("build", model.path, "--locked", "--json").json
    assert (answer["lock_source"], answer["lock_hash"]) == (str(lock), said.stdout.split()[-1])
    lines = call("lock", model.path, "--format", "requirements").stdout.splitlines()
    assert lines[0].startswith("#")
    assert all(" --hash=sha256:" in line for line in lines[1:])
    sources = [call("lock", model.path, *more, "--json").json["source"] for more in ([], ["--update"])]
    assert sources == [str(lock), "resolved"]
    lock.unlink()
    assert call("lock", model.path, "--json").json["source"] == "kept"
    assert call("lock", model.path, "-o", "/dev/stdout").stdout.startswith(printed)


def test_a_damaged_lock_in_the_store_is_made_anew(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    model, env = tiny(), {"ENVBUILD_HOME": str(tmp_path / "store")}
    first = call("lock", model.path, "--json", env=env).json
    (kept,) = (tmp_path / "store").glob("store/v1/locks/*.toml")
    kept.write_bytes(b"\xff\xfe half a lock")
    again = call("lock", model.path, "--json", env=env).json
    assert (again["source"], again["lock_hash"]) == ("resolved", first["lock_hash"])


def test_as_of_decides(call: Call, tiny: MakeTiny) -> None:
    model = tiny(pip=("fruit",))

    def version(*more: str) -> str:
        packages = call("lock", model.path, "--json", *more).json["packages"]
        return next(str(package["version"]) for package in packages if package["name"] == "fruit")

    assert [version(), version("--as-of", "now"), version("--as-of", "2025-01-01")] == ["1.0", "2.0", "2.0"]
    assert version("--as-of", "2024-12-31T23:59:00Z") == "1.0"


def test_paths_are_read_from_where_one_is(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    from tiny import wheel

    file = wheel("plum", "1.0")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / file.name).write_bytes(file.content)
    model = tiny(pip=("plum",))
    assert call("lock", model.path, "--find-links", "./wheels", "--as-of", "now").code == 0
    done = call("lock", model.path, "--as-of", "now", env={"ENVBUILD_FIND_LINKS": "wheels"})
    assert done.code == 0


def test_run_passes_on_what_the_command_is(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    code = "import os, sys; print(sys.stdin.read(), sys.argv[1], os.environ['ENVBUILD_MODEL']); sys.exit(7 * 6)"
    done = call("run", model.path, "--", "python", "-c", code, "--json", stdin=b"hello")
    assert (done.code, done.stdout) == (42, f"hello --json {model.path}\n")
    killed = call("run", model.path, "--json", "--", "python", "-c", "import os; os.kill(os.getpid(), 9)")
    assert (killed.code, killed.json["returncode"]) == (137, -9)


def test_run_has_the_environment_first_and_nothing_that_leads_out_of_it(call: Call, tiny: MakeTiny) -> None:
    model = tiny()
    env = {
        "MY_OWN": "kept",
        "PYTHONSTARTUP": "/x",
        "PIP_INDEX_URL": "https://index.example/simple",
        "UV_CACHE_DIR": "/x",
    }
    printed = call("run", model.path, "--", "env", env=env).stdout
    seen = dict(line.split("=", 1) for line in printed.splitlines())
    path = call("build", model.path).stdout.strip()
    assert seen["PATH"].startswith(f"{path}/bin:")
    assert (seen["VIRTUAL_ENV"], seen["ENVBUILD_MODEL"], seen["MY_OWN"]) == (path, str(model.path), "kept")
    # Ours, so that the environment stays as it was built.
    assert seen.pop("PYTHONDONTWRITEBYTECODE") == "1"
    assert not [name for name in seen if name.startswith(("PYTHON", "PIP_", "UV_"))]
    assert [name for name in seen if name.startswith("ENVBUILD_")] == ["ENVBUILD_MODEL"]
    assert call("run", model.path, "--", "python", "-c", "import sys; print(sys.prefix)").stdout.strip() == path


def test_run_gives_signals_their_usual_meaning(start: Start, tiny: MakeTiny) -> None:
    process = start("run", tiny().path, "--", "sh", "-c", "yes; echo $? >&2")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    # 141: ended by SIGPIPE, as from a shell; Python would have had it ignored.
    assert process.stderr.read().decode().splitlines()[-1] == "141"
    process.wait(20)


@pytest.mark.parametrize("name", ["no-such-program", "/etc/passwd", "./here"])
def test_run_without_a_program(call: Call, tiny: MakeTiny, name: str) -> None:
    done = call("run", tiny().path, "--", name)
    assert (done.code, done.error) == (7, "command-not-started")
    assert name in done.stderr


def test_progress_is_lines_on_a_pipe_and_one_line_on_a_terminal(
    start: Start, call: Call, tiny: MakeTiny, tmp_path: Path
) -> None:
    model = tiny()
    piped = call("build", model.path, env={"ENVBUILD_HOME": str(tmp_path / "one")}).stderr
    assert "\x1b" not in piped
    assert "\r" not in piped
    assert piped.splitlines()[0].startswith("resolving 3 requirements")
    main, side = pty.openpty()
    terminal = {"ENVBUILD_HOME": str(tmp_path / "two"), "TERM": "xterm-256color"}
    process = start("build", model.path, env=terminal, stderr=side)
    os.close(side)
    shown = b""
    # Reading a terminal whose other end is closed is an error on Linux.
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.wait(20) == 0
    text = shown.decode()
    assert "installing" in text
    assert "\x1b[?25l" in text  # the cursor goes away
    assert text.rstrip().endswith("\x1b[2K")  # and nothing is left of the line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(call: Call, shell: str) -> None:
    script = call("completion", shell).stdout
    assert "_ENVBUILD_COMPLETE" in script
    assert call("completion", shell, "--json").json["script"].rstrip("\n") == script.rstrip("\n")


def test_completion_completes(call: Call) -> None:
    def complete(words: str) -> list[str]:
        number = str(len(words.split(" ")) - 1)
        env = {"_ENVBUILD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number}
        return [line.partition(",")[2] for line in call(env=env).stdout.splitlines()]

    assert complete("envbuild ") == list(cli.COMMANDS)
    assert complete("envbuild build --off") == ["--offline"]
    assert complete("envbuild predict --nan ") == ["null", "string", "error"]


def test_help_of_everything() -> None:
    runner = CliRunner()
    top = runner.invoke(cli.envbuild, ["--help"])
    assert top.exit_code == 0
    for name, short in cli.COMMANDS.items():
        assert short in top.output
        done = runner.invoke(cli.envbuild, [name, "-h"])
        assert done.exit_code == 0
        command = cli.envbuild.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else []:
                assert option in done.output, f"{name} {option}"
                assert getattr(parameter, "help", None), f"{name} {option} has no help"


def test_no_command_is_help_and_a_usage_error(call: Call) -> None:
    done = call()
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: envbuild")
    assert call("--version").stdout.startswith("envbuild 0.")


def test_help_loads_nothing_heavy(cli_environ: dict[str, str]) -> None:
    program = (
        "import sys\nfrom envbuild.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], env=cli_environ, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()}
    assert not loaded & {
        "yaml",
        "httpx",
        "rich",
        "packaging",
        "findpython",
        "filelock",
        "uv",
        "platformdirs",
        "asyncio",
    }
    assert len([name for name in done.stdout.splitlines() if name.startswith("envbuild")]) <= 4


def test_the_python_of_these_tests_is_the_models(call: Call, tiny: MakeTiny) -> None:
    assert call("build", tiny().path, "--json").json["python"].startswith(f"{HERE}.")
