"""Logins to a real index, by each way that there is: they work, and the password is nowhere to be found afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from kit import Kit, cli, cli_environ
from local_index import LocalIndex
from machine import watched
from real_index import programs, served_by_pypiserver
from tiny import wheel

from envbuild import logins
from envbuild.errors import IndexUnreachable, UsageError
from envbuild.indexes import choose
from envbuild.requirement import IndexLine

MakeModel = Callable[..., Path]
USER, CANARY = "canary-user", "canary-pass/w%rd-71be"
FORMS = (CANARY, quote(CANARY, safe=""), quote(CANARY))
# netrc, and a token alone, are tried with the slow ones: the former stands in tests/integration as well.
SLOW = ("netrc", "command")
REST = (*SLOW, "environment", "keyring")
WAYS = [
    pytest.param(how, marks=[pytest.mark.slow] if how in SLOW else [])
    for how in ("url", "netrc", "environment", "keyring", "command", "command-json")
]

# Gives back all that it can see of its surroundings.
SEEING = """
import os

class Seeing:
    def predict(self, data):
        return [repr(dict(os.environ))]

def _load_pyfunc(path):
    return Seeing()
"""


@pytest.fixture(scope="session")
def bin_(shared_home: Path) -> Path:
    return programs(shared_home)


@pytest.fixture(scope="session")
def real(bin_: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A pypiserver that lets nobody in without the login."""
    folder = tmp_path_factory.mktemp("pypiserver")
    with served_by_pypiserver(bin_, folder, [wheel("acme", "1.0")], USER, CANARY) as url:
        yield url


@dataclass
class Way:
    """What the deployer says, as variables; and where the password stands by the deployer's own doing."""

    variables: dict[str, str]
    calls: Path


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Where the deployer keeps passwords: nobody looks for them there."""
    folder = tmp_path / "deployer"
    folder.mkdir(mode=0o700)
    return folder


def way(how: str, url: str, secrets: Path, bin_: Path) -> Way:
    host = urlsplit(url).netloc
    with_user = url.replace("http://", f"http://{USER}@")
    calls = secrets / "calls"
    made = Way({"ENVBUILD_INDEX_URL": url, "ENVBUILD_AS_OF": "now"}, calls)
    if how == "url":
        made.variables["ENVBUILD_INDEX_URL"] = url.replace("http://", f"http://{USER}:{quote(CANARY, safe='')}@")
    elif how == "netrc":
        (secrets / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {CANARY}\n")
        made.variables["NETRC"] = str(secrets / "netrc")
    elif how == "environment":
        made.variables |= {
            "ENVBUILD_INDEX_URL": f"corp.main={url}",
            "ENVBUILD_INDEX_CORP_MAIN_USERNAME": USER,
            "ENVBUILD_INDEX_CORP_MAIN_PASSWORD": CANARY,
        }
    elif how == "keyring":
        keyring = {
            "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
            "XDG_DATA_HOME": str(secrets),
            "PATH": f"{bin_}:{os.environ['PATH']}",
        }
        words = [bin_ / "keyring", "set", host, USER]
        subprocess.run(words, input=CANARY, text=True, env={**os.environ, **keyring}, check=True, capture_output=True)
        made.variables |= {**keyring, "ENVBUILD_INDEX_URL": with_user, "ENVBUILD_KEYRING_PROVIDER": "subprocess"}
    else:
        said = CANARY if how == "command" else json.dumps({"username": USER, "password": CANARY})
        (secrets / "said").write_text(f"{said}\n")
        script = secrets / "token program"
        script.write_text(f'#!/bin/sh\necho "$1" >> {calls}\ncat {secrets}/said\n')
        script.chmod(0o700)
        made.variables["ENVBUILD_INDEX_TOKEN_COMMAND"] = f"'{script}' {{host}}"
        if how == "command":
            made.variables["ENVBUILD_INDEX_URL"] = with_user
    return made


def shows(text: str) -> bool:
    """Whether the password is in it, in any of its forms."""
    return any(form in text for form in FORMS)


def holding(folder: Path, but: Path) -> list[Path]:
    """The files below a folder that have the password in them."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and but not in path.parents)
    return [path for path in files for content in (path.read_bytes(),) if any(f.encode() in content for f in FORMS)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("how", WAYS)
def test_a_login_works_and_the_password_is_nowhere(
    how: str, home: Path, make_model: MakeModel, real: str, bin_: Path, secrets: Path, tmp_path: Path
) -> None:
    model = make_model(pip=["acme"], loader=SEEING, more="")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    known = way(how, real, secrets, bin_)
    environ = cli_environ(home, TMPDIR=str(temporary), **known.variables)
    said, logs = [], []
    with watched(shows) as seen:
        for number, words in enumerate(
            (("lock", model, "--json"), ("build", model), ("predict", model, "-", "--json"))
        ):
            log = tmp_path / f"log-{number}"
            done = cli(*words, "-v", "--log-file", log, environ=environ, input='{"inputs": [1]}')
            assert done.returncode == 0, done.stderr
            said += [done.stdout, done.stderr]
            logs.append(log.read_text())
    (prediction,) = json.loads(said[-2])["predictions"]
    assert "VIRTUAL_ENV" in prediction, "the worker's variables are in the answer"
    assert [text for text in [*said, *logs] for form in FORMS if form in text] == []
    assert seen == []
    assert holding(tmp_path, but=secrets) == []
    # What is looked for can be found.
    assert how in ("url", "environment", "keyring") or holding(secrets, but=home)
    if how.startswith("command"):
        # lock and build: once each; predict finds everything there.
        host = urlsplit(real).netloc
        assert known.calls.read_text().splitlines() == [host] * 2


@pytest.mark.parametrize("how", ["url", "command-json", *(pytest.param(how, marks=pytest.mark.slow) for how in REST)])
def test_a_login_that_is_refused_is_said_without_it(
    how: str, home: Path, make_model: MakeModel, make_index: Callable[[], LocalIndex], bin_: Path, secrets: Path
) -> None:
    index = make_index().add(wheel("acme", "1.0"))
    index.login = (USER, "another")
    environ = cli_environ(home, **way(how, index.url, secrets, bin_).variables)
    done = cli("lock", make_model(pip=["acme==1.0"], created=None), "--json", "-v", environ=environ)
    assert json.loads(done.stdout)["error"]["code"] == "index-unreachable"
    assert [text for text in (done.stdout, done.stderr) for form in FORMS if form in text] == []


def test_the_pip_engine_logs_in_by_a_token_too(
    home: Path, make_model: MakeModel, real: str, bin_: Path, secrets: Path
) -> None:
    from envbuild.dated_index.index import DatedIndex

    known = way("command-json", real, secrets, bin_)
    kit_settings = Kit(home, LocalIndex()).settings(
        index_url=real, index_token_command=known.variables["ENVBUILD_INDEX_TOKEN_COMMAND"]
    )
    indexes, _ = choose(kit_settings, (), "")
    with DatedIndex(indexes, "", home=home) as index:
        (file,) = index.files("acme")
        assert index.fetch(file).is_file()
    assert holding(home, but=secrets) == []


# Where each looks


@pytest.fixture
def chosen(home: Path) -> Callable[..., tuple[str, ...]]:
    """The URLs of some indexes with their logins, by settings and a model's index lines."""
    logins._asked.clear()

    def log_in(*lines: IndexLine, **settings: object) -> tuple[str, ...]:
        kit = Kit(home, LocalIndex(), {"model_indexes": "allow", "index_url": None})
        indexes, _ = choose(kit.settings(**settings), lines, "https://default.invalid/simple")
        return indexes.logged_in().urls()

    return log_in


def script(folder: Path, text: str) -> str:
    path = folder / "token"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_models_index_gets_neither_token_nor_password(
    chosen: Callable[..., tuple[str, ...]], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = script(secrets, "echo token-5")
    monkeypatch.setenv("ENVBUILD_INDEX_CORP_PASSWORD", "word-5")
    line = IndexLine(option="extra-index-url", url="https://theirs.invalid/simple", place=None)
    ours, named = "https://ours.invalid/simple", "https://named.invalid/simple"
    assert chosen(line, extra_index_url=(ours,), index_token_command=command) == (
        "https://__token__:token-5@ours.invalid/simple",
        "https://theirs.invalid/simple",
    )
    # Where some have names, the others are public: no token is for them.
    assert chosen(line, extra_index_url=(ours, f"b={named}"), index_token_command=command) == (
        ours,
        "https://__token__:token-5@named.invalid/simple",
        "https://theirs.invalid/simple",
    )
    assert chosen(line, extra_index_url=(f"corp={ours}",)) == (
        "https://__token__:word-5@ours.invalid/simple",
        "https://theirs.invalid/simple",
    )


def test_of_several_ways_the_nearest_to_the_index_counts(
    chosen: Callable[..., tuple[str, ...]], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = secrets / "netrc"
    netrc.write_text("machine ours.invalid login of-netrc password n-word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    url, command = "ours.invalid/simple", script(secrets, "echo token-6")

    def first(index: str, **settings: object) -> str:
        return chosen(index_url=index, **settings)[0]

    assert first(f"https://{url}") == f"https://of-netrc:n-word@{url}"
    assert first(f"https://another@{url}") == f"https://another@{url}"
    assert first(f"https://{url}", index_token_command=command) == f"https://__token__:token-6@{url}"
    assert first(f"https://me@{url}", index_token_command=command) == f"https://me:token-6@{url}"
    monkeypatch.setenv("ENVBUILD_INDEX_O_K_USERNAME", "of-variables")
    assert first(f"o-k=https://{url}", index_token_command=command) == f"https://of-variables:token-6@{url}"
    monkeypatch.setenv("ENVBUILD_INDEX_O_K_PASSWORD", "v-word")
    assert first(f"o-k=https://{url}", index_token_command=command) == f"https://of-variables:v-word@{url}"
    assert first(f"o-k=https://a:b@{url}", index_token_command=command) == f"https://a:b@{url}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo canary-8 >&2; echo canary-8; exit 3", "with status 3"),
        ("""echo '{"username": "canary-8"}'""", "no login"),
        ("echo '{canary-8'", "no login"),
        ("echo canary-8; sleep 60", "longer than"),
    ],
    ids=["fails", "no-password", "no-json", "hangs"],
)
def test_a_token_command_that_gives_no_token_is_said_without_its_words(
    chosen: Callable[..., tuple[str, ...]],
    secrets: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    message: str,
) -> None:
    monkeypatch.setattr(logins, "_COMMAND_SECONDS", 1.0)
    with pytest.raises(IndexUnreachable, match=message) as failure:
        chosen(index_url="https://ours.invalid/simple", index_token_command=script(secrets, text))
    assert "canary-8" not in json.dumps(failure.value.to_dict())
    assert "ours.invalid" in failure.value.message


def test_one_that_is_not_there_is_said_and_one_that_prints_nothing_is_no_login(
    chosen: Callable[..., tuple[str, ...]], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://ours.invalid/simple"
    with pytest.raises(UsageError, match="cannot be started"):
        chosen(index_url=url, index_token_command=str(secrets / "nowhere"))
    assert chosen(index_url=url, index_token_command=script(secrets, "")) == (url,)
    monkeypatch.setenv("PATH", str(secrets))
    with pytest.raises(UsageError, match="no program keyring"):
        chosen(index_url="https://me@ours.invalid/simple", keyring_provider="subprocess")


def test_no_setting_shows_the_command(home: Path) -> None:
    known = Kit(home, LocalIndex()).settings(index_token_command="print canary-3")
    assert "canary-3" not in repr(known)
    assert "canary-3" not in repr(choose(known, (), "")[0])
