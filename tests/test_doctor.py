"""`envbuild doctor`: what it finds on a machine, on a broken one, and that it changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kit import AS_NOBODY, REPO, cli, cli_environ
from local_index import LocalIndex
from machine import free_port
from tiny import wheel

from envbuild import doctor
from envbuild.bridge import confinement
from envbuild.cli import envbuild as program
from envbuild.doctor import ground, network, place, programs, pythons, surroundings
from envbuild.doctor.finding import Check, Finding
from envbuild.doctor.looking import side_by_side
from envbuild.progress import Step, silent
from envbuild.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CANARY = "canary-77ab41"
NEEDED = {
    "system",
    "uv",
    "temporary files",
    "store",
    "disk space",
    "file locks",
    "programs in the store",
    "any Python",
    "index",
}
GROUPS = ["envbuild itself", "Store", "Pythons", "Network", "For some models", "For more than predicting"]
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can mount and be somebody else")


@pytest.fixture
def index(local_index: LocalIndex) -> LocalIndex:
    return local_index.add(wheel("pip", "1.0"), wheel("pip", "2.0"))


@pytest.fixture
def environ(home: Path, index: LocalIndex) -> dict[str, str]:
    return cli_environ(home, index.url)


def asked(
    environ: dict[str, str], *options: str, prefix: tuple[str, ...] = ()
) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
    """The exit code of ``doctor --json``, the answer, and what it found by name."""
    argv = [*prefix, sys.executable, "-m", "envbuild", "doctor", "--json", *options]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in {0, 5}, done.stderr
    answer = json.loads(done.stdout)
    findings = [finding for group in answer["groups"] for finding in group["findings"]]
    found = {finding["name"]: finding for finding in findings}
    assert len(found) == len(findings)
    return done.returncode, answer, found


LOOK = """
import json, sys
from envbuild.doctor import place, surroundings
from envbuild.settings import Settings
findings = {"store": place.store, "docker": surroundings.docker}[sys.argv[1]](Settings.from_environ())
print(json.dumps({finding.name: finding.to_dict() for finding in findings}))
"""


def looked(what: str, environ: dict[str, str], *prefix: str) -> dict[str, dict[str, Any]]:
    """What one check finds in a process of its own, by name."""
    argv = [*prefix, sys.executable, "-c", LOOK, what]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def settings(home: Path, **given: Any) -> Settings:
    return Settings.from_environ({}, home=home, python_downloads=False, **given)


# A machine where everything is there


def test_on_a_machine_that_does_everything_needed_is_fine(environ: dict[str, str]) -> None:
    code, answer, found = asked(environ)
    assert code == 0
    assert {name for name, one in found.items() if one["needed"]} == NEEDED
    assert all(one["state"] == "fine" for one in found.values() if one["needed"])
    assert "the pinned one" in found["uv"]["found"]
    assert found["upload times"]["state"] == "fine"
    assert (found["git"]["state"] == "fine") == (shutil.which("git") is not None)
    assert set(answer) == {"schema_version", "command", "ok", "notices", "fine", "groups"}
    assert (answer["command"], answer["ok"], answer["fine"]) == ("doctor", True, True)
    assert [group["name"] for group in answer["groups"]] == GROUPS
    assert all(set(group) == {"name", "findings"} for group in answer["groups"])
    for finding in found.values():
        assert set(finding) == {"name", "state", "found", "without", "hint", "needed"}
        assert finding["state"] in {"fine", "missing", "wrong"}
        assert finding["found"]
        assert finding["without"]
        assert finding["state"] != "fine" or finding["hint"] is None


def test_nothing_is_made_and_nothing_left(environ: dict[str, str], home: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = sorted(tmp_path.rglob("*"))
    _, _, found = asked({**environ, "TMPDIR": str(temporary), "HOME": str(tmp_path / "nowhere")})
    assert sorted(tmp_path.rglob("*")) == before
    assert found["store"]["found"] == f"{home} is not there yet, and can be made"
    assert found["temporary files"]["found"].endswith(f" in {temporary}")


def test_a_store_that_is_there_is_left_as_it_is(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "uv").mkdir()
    found = by_name(place.store(settings(home)))
    assert {name: one.state for name, one in found.items()} == dict.fromkeys(found, "fine")
    assert re.search(r"can be written; mode 0700, owner \w+", found["store"].found)
    assert [path.name for path in home.rglob("*")] == ["uv"]


def test_without_programs_on_the_path_the_table_says_what_to_do(environ: dict[str, str]) -> None:
    done = cli("doctor", "--offline", environ={**environ, "PATH": "/nonexistent", "JAVA_HOME": "/nonexistent"})
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [
        *GROUPS,
        "everything that is needed for every model is fine",
    ]
    at = next(number for number, line in enumerate(lines) if line.startswith("  missing  git "))
    column = lines[at].index("it is not on PATH")
    assert lines[at + 1][column:].startswith("without it: requirements that name a repository")
    assert lines[at + 2][column:].startswith("hint: install it")
    assert "there is none for C and C++" in done.stdout
    assert "build-essential" in done.stdout
    assert all(line[2:9].strip() in {"", "fine", "missing", "wrong"} for line in lines if line.startswith("  "))
    assert "checking index\n" in done.stderr


def test_quiet_and_verbose(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(given: Settings) -> list[Finding]:
        return [Finding(name="trial", state="fine", found="it is here", without="nobody can try", needed=True)]

    monkeypatch.setattr(doctor, "CHECKS", (check(answers),))

    def said(*options: str) -> tuple[str, str]:
        done = CliRunner().invoke(
            program, ["doctor", *options], env={"ENVBUILD_HOME": str(home)}, catch_exceptions=False
        )
        return done.stdout, done.stderr

    plain = "Trials\n  fine     trial  it is here\n\neverything that is needed for every model is fine\n"
    assert said() == (plain, "checking trial\n")
    assert said("-q") == (plain, "")
    assert "without it: nobody can try" in said("-v")[0]


# The store


@ONLY_ROOT
def test_a_store_that_cannot_be_made_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    for parent in [tmp_path, *list(tmp_path.parents)[:-2]]:
        parent.chmod(0o755)
    home = tmp_path / "not" / "yet"
    # Where only a capability opens root's home, nobody finds a Python by looking around.
    code, answer, found = asked(
        {**environ, "ENVBUILD_HOME": str(home), "TMPDIR": "/tmp"}, "--offline", prefix=AS_NOBODY
    )
    assert (code, answer["ok"], answer["fine"]) == (5, True, False)
    store = found["store"]
    assert (store["state"], store["needed"]) == ("wrong", True)
    assert store["found"] == (
        f"{home} is not there and cannot be made: {tmp_path} cannot be written: Permission denied"
    )
    assert store["hint"] == "set ENVBUILD_HOME to a directory that you can write"
    assert "file locks" not in found


@ONLY_ROOT
def test_a_store_of_somebody_else_is_said(environ: dict[str, str], home: Path) -> None:
    for parent in [home.parent, *list(home.parents)[1:-2]]:
        parent.chmod(0o755)
    home.mkdir()
    shutil.chown(home, 1)
    home.chmod(0o755)
    found = looked("store", {**environ, "TMPDIR": "/tmp"}, *AS_NOBODY)
    assert f"the store {home} belongs to another user (uid 1)" in found["store"]["found"]
    assert "ENVBUILD_SHARED" in found["store"]["hint"]


def test_a_file_in_the_stores_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = by_name(place.store(settings(tmp_path / "file" / "store")))
    assert found["store"].state == "wrong"
    assert f"{tmp_path / 'file'} cannot be used: Not a directory" in found["store"].found


def test_a_store_that_anybody_may_write_is_said(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    found = by_name(place.store(settings(home)))
    assert "anybody may write" in found["store"].found
    assert f"chmod o-w {home}" in (found["store"].hint or "")


@ONLY_ROOT
def test_a_small_disk_and_programs_that_may_not_run_are_said(environ: dict[str, str], home: Path) -> None:
    home.mkdir()
    mount = f'mount -t tmpfs -o noexec,size=20m,mode=0700 tmpfs {home} && exec "$@"'
    found = looked("store", environ, "unshare", "--mount", "sh", "-c", mount, "sh")
    assert found["disk space"]["state"] == "wrong"
    assert found["disk space"]["found"].startswith("0.0 GB are free")
    assert "envbuild envs gc" in found["disk space"]["hint"]
    assert "noexec" in found["programs in the store"]["found"]
    assert found["store"]["state"] == "fine"


@ONLY_ROOT
def test_caches_on_another_disk_are_said(environ: dict[str, str], home: Path) -> None:
    (home / "uv").mkdir(parents=True)
    mount = f'mount -t tmpfs tmpfs {home}/uv && exec "$@"'
    found = looked("store", environ, "unshare", "--mount", "sh", "-c", mount, "sh")
    assert found["shared files"]["state"] == "missing"
    assert "different file systems" in found["shared files"]["found"]


def test_copies_are_fine_where_they_are_wanted(home: Path) -> None:
    found = by_name(place.store(settings(home, link_mode="copy")))
    assert found["shared files"].state == "fine"
    assert found["shared files"].found == "files are copied, as --link-mode says"


def test_locks_that_exclude_nobody_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that says yes to everybody; real ones do that over some networks."""
    monkeypatch.setattr("envbuild.store.flock.fcntl.flock", lambda *given: None)
    found = by_name(place.store(settings(home)))["file locks"]
    assert (found.state, found.needed) == ("wrong", True)
    assert found.found == "the file system gives a lock to two at once"


def test_a_file_system_without_locks_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("envbuild.store.flock.fcntl.flock", refuse)
    found = by_name(place.store(settings(home)))["file locks"]
    assert found.found == "the file system cannot lock files: No locks available"
    assert "local disk" in (found.hint or "")


# The network


def test_an_index_without_upload_times_is_said(home: Path, index: LocalIndex) -> None:
    index.upload_times = False
    found = by_name(network.index(settings(home, index_url=index.url)))
    assert found["index"].state == "fine"
    times = found["upload times"]
    assert (times.state, times.found) == ("missing", "none of its files have one (looked at pip)")
    assert "as of now" in times.without
    assert "PEP 700" in (times.hint or "")


def test_an_index_that_is_not_there_is_said(home: Path) -> None:
    port = free_port()
    found = by_name(network.index(settings(home, index_url=f"http://user:{CANARY}@127.0.0.1:{port}/simple")))
    assert set(found) == {"index"}
    assert found["index"].stops
    assert found["index"].found.startswith(f"the index http://127.0.0.1:{port}/simple does not answer")
    assert CANARY not in str(found)


def test_an_address_that_is_no_index_is_said(home: Path, index: LocalIndex) -> None:
    found = by_name(network.index(settings(home, index_url=index.root)))
    assert found["index"].state == "wrong"
    assert "has none of pip" in found["index"].found
    assert "/simple" in (found["index"].hint or "")


def test_an_index_that_refuses_us_is_said_without_the_credentials(
    environ: dict[str, str], index: LocalIndex, tmp_path: Path
) -> None:
    index.login = ("deployer", "another word")
    log = tmp_path / "log"
    wrong = index.with_login("deployer", CANARY)
    done = cli("doctor", "-v", "--log-file", log, "--index-url", wrong, environ=environ)
    assert done.returncode == 5
    assert "answers 401" in done.stdout
    assert "netrc" in done.stdout
    assert "envbuild needs these, and they are not fine: index" in done.stdout
    assert CANARY not in done.stdout + done.stderr + log.read_text()


def test_credentials_open_an_index_and_are_not_shown(home: Path, index: LocalIndex) -> None:
    index.login = ("deployer", CANARY)
    found = by_name(network.index(settings(home, index_url=index.with_login("deployer", CANARY))))
    assert (found["index"].state, found["index"].found) == ("fine", f"{index.url} answers")
    assert CANARY not in str(found)


def test_offline_asks_nobody_and_says_so(home: Path, index: LocalIndex) -> None:
    all_set = settings(home, index_url=index.url, extra_index_url=(index.url,), environments=index.root, offline=True)
    looks = (network.index, network.further_indexes, network.environments)
    found = [finding for look in looks for finding in look(all_set)]
    assert [one.name for one in found] == ["index", f"index {index.url}", "curated environments"]
    assert {one.found for one in found} == {"not asked, since nothing may touch the network (offline)"}
    assert not any(one.stops for one in found)
    assert index.requests == []


def test_a_further_index_need_not_have_everything(home: Path, make_index: Callable[[], LocalIndex]) -> None:
    own, gone = make_index().add(wheel("company-tools", "1.0")), make_index()
    gone.status = 503
    found = by_name(network.further_indexes(settings(home, extra_index_url=(own.url, gone.url))))
    assert {name: one.state for name, one in found.items()} == {
        f"index {own.url}": "fine",
        f"index {gone.url}": "wrong",
    }


def test_a_folder_of_curated_environments_is_listed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "curated" / "sklearn-lts").mkdir(parents=True)
    (found,) = network.environments(settings(home, environments=str(tmp_path / "curated")))
    assert (found.state, found.found) == ("fine", f"{tmp_path / 'curated'} can be read; there are: sklearn-lts")
    (gone,) = network.environments(settings(home, environments=str(tmp_path / "elsewhere")))
    assert gone.state == "wrong"
    assert "ENVBUILD_ENVIRONMENTS" in (gone.hint or "")


def test_a_url_of_curated_environments_is_asked(home: Path, index: LocalIndex) -> None:
    place = settings(home, environments=index.root.replace("://", f"://user:{CANARY}@"))
    (there,) = network.environments(place)
    index.status = 403
    (refused,) = network.environments(place)
    assert (there.state, refused.state) == ("fine", "wrong")
    assert there.found == f"{index.root} answers"
    assert CANARY not in there.found + refused.found
    assert not home.exists()


# What single models need


def test_a_program_that_hangs_is_not_waited_for(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = tmp_path / "bin" / "git"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", str(hanging.parent))
    monkeypatch.setattr(programs, "ANSWER_SECONDS", 0.2)
    (found,) = programs.git(settings(home))
    assert (found.state, found.found) == ("wrong", f"{hanging} does not run")


def test_java_is_looked_for_where_a_worker_would(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    (missing,) = programs.java(settings(home))
    assert (missing.state, missing.found) == ("missing", f"there is no bin/java below JAVA_HOME ({tmp_path})")
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text('#!/bin/sh\necho "openjdk version \\"11.0.2\\"" >&2\n')
    java.chmod(0o755)
    (found,) = programs.java(settings(home))
    assert (found.state, found.found) == ("fine", 'openjdk version "11.0.2"')


def test_a_gpu_is_named_with_its_driver(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'Tesla T4, 550.54.15'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = programs.gpu(settings(home))
    assert (found.state, found.found) == ("fine", "Tesla T4, driver 550.54.15")


# Pythons and uv


def test_a_python_that_is_not_here_says_whether_uv_fetches_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "_here", lambda minor, given: None)
    allowed = Settings.from_environ({}, home=home)
    fetched = by_name(pythons.pythons(allowed))
    assert fetched["any Python"].state == "fine"
    assert re.match(r"it is not here; uv fetches 3\.12\.\d+ when", fetched["Python 3.12"].found)
    # uv has builds from 3.8 on.
    assert fetched["Python 3.6"].found == "it is not here, and uv has none for this platform"
    assert fetched["Python 3.6"].hint == "pyenv install 3.6"
    forbidden = by_name(pythons.pythons(settings(home)))
    assert "ENVBUILD_PYTHON_DOWNLOADS=0" in forbidden["Python 3.12"].found
    assert (forbidden["any Python"].state, forbidden["any Python"].stops) == ("missing", True)
    offline = by_name(pythons.pythons(allowed.having(offline=True)))
    assert "offline" in offline["Python 3.12"].found
    assert not home.exists()


def test_pythons_that_uv_fetched_into_the_store_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = home / "python" / "cpython-fetched" / "bin" / f"python3.{sys.version_info[1]}"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    monkeypatch.setattr("envbuild.interpreters._everywhere", lambda: iter(()))
    minor = f"3.{sys.version_info[1]}"
    assert by_name(pythons.pythons(settings(home)))[f"Python {minor}"].state == "fine"


def test_another_uv_than_the_pinned_one_is_said(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "uv"
    other.write_text("#!/bin/sh\necho 'uv 0.0.1 (somewhere)'\n")
    other.chmod(0o755)
    monkeypatch.setattr("envbuild.uv.binary", lambda: str(other))
    (found,) = ground.pinned_uv(settings(home))
    assert (found.state, found.stops) == ("wrong", True)
    assert re.match(r"uv 0\.0\.1, and envbuild is made for uv==[\d.]+ ", found.found)
    assert re.fullmatch(r"pip install 'uv==[\d.]+'", found.hint or "")


# Docker and the extras


def test_no_docker_daemon_stops_nothing_but_images(environ: dict[str, str]) -> None:
    found = looked("docker", {**environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"})["Docker"]
    assert (found["state"], found["needed"]) == ("missing", False)
    assert found["without"] == "envbuild image does not work; everything else does"
    assert "DOCKER_HOST" in found["hint"]


@ONLY_ROOT
def test_a_daemon_that_this_user_may_not_talk_to_is_wrong(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        (tmp_path / "docker.sock").chmod(0o600)
        for parent in [tmp_path, *list(tmp_path.parents)[:-2]]:
            parent.chmod(0o755)
        more = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "TMPDIR": "/tmp"}
        found = looked("docker", {**environ, **more}, *AS_NOBODY)
    assert found["Docker"]["state"] == "wrong"
    assert found["Docker"]["found"] == "this user may not talk to the Docker daemon"


def test_what_a_worker_can_be_kept_from_is_said_and_stops_nothing(home: Path) -> None:
    found = by_name(surroundings.confinement(settings(home)))
    assert set(found) == {"memory limit", "no network", "read-only"}
    assert not any(one.needed for one in found.values())
    assert found["no network"].without == "--no-network is refused; everything else works"
    assert ("can do it" in found["read-only"].found) == (found["read-only"].state == "fine")


def test_a_machine_that_can_confine_nobody_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "MEANS", ())
    monkeypatch.setattr(confinement, "_FOUND", confinement._Found())
    found = by_name(surroundings.confinement(settings(home)))
    assert found["no network"].state == found["read-only"].state == "missing"
    assert "bubblewrap" in (found["read-only"].hint or "")


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(surroundings.EXTRAS) == set(project["optional-dependencies"])


def test_an_extra_that_is_not_installed_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "find_spec", lambda name: None)
    found = by_name(surroundings.extras(settings(home)))
    assert found["envbuild[serve]"].state == "missing"
    assert found["envbuild[serve]"].hint == "pip install 'envbuild[serve]'"


# Checks that fail, and checks that hang


def check(look: Callable[[Settings], list[Finding]], seconds: float = 60.0, *, needed: bool = False) -> Check:
    return Check(group="Trials", name="trial", look=look, seconds=seconds, needed=needed)


def test_a_check_that_raises_is_a_finding(home: Path) -> None:
    def fails(given: Settings) -> list[Finding]:
        raise ValueError(f"http://user:{CANARY}@host.example is odd")

    ((_, found),) = side_by_side([check(fails, needed=True)], settings(home), silent)
    assert (found.state, found.stops) == ("wrong", True)
    assert found.found == "looking at it failed: ValueError: http://****@host.example is odd"


def test_a_check_that_hangs_is_a_finding_and_holds_nobody_up(home: Path) -> None:
    over = threading.Event()
    steps: list[Step] = []

    def hangs(given: Settings) -> list[Finding]:
        over.wait(60)
        return []

    def answers(given: Settings) -> list[Finding]:
        return [Finding(name="the other", state="fine", found="it is here", without="nothing")]

    looks = [check(hangs, 0.1), check(answers)]
    found = [one for _, one in side_by_side(looks, settings(home), steps.append)]
    over.set()
    assert [(one.name, one.state) for one in found] == [("trial", "wrong"), ("the other", "fine")]
    assert found[0].found == "no answer within 0.1 seconds"
    assert steps == [Step("checking", "trial"), Step("checking", "trial")]


def test_an_index_that_hangs_is_given_up(home: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.open.clear()
    quick = tuple(
        Check(group=one.group, name=one.name, look=one.look, seconds=0.5, needed=one.needed)
        for one in doctor.CHECKS
        if one.name == "index"
    )
    monkeypatch.setattr(doctor, "CHECKS", quick)
    ((found,),) = (group.findings for group in doctor.examine(settings(home, index_url=index.url)))
    assert index.waiting.is_set()
    assert (found.name, found.found, found.stops) == ("index", "no answer within 0.5 seconds", True)


def test_an_interrupted_call_leaves_nothing(home: Path) -> None:
    began = threading.Event()
    removed: list[str] = []

    def tidies(given: Settings) -> list[Finding]:
        began.set()
        time.sleep(0.1)
        removed.append("what it made")
        return []

    def interrupted(step: Step) -> None:
        began.wait(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(side_by_side([check(tidies)], settings(home), interrupted))
    assert removed == ["what it made"]


# Documented


def test_the_page_names_everything_that_is_looked_at(environ: dict[str, str], tmp_path: Path) -> None:
    page = (REPO / "docs" / "cli.md").read_text(encoding="utf-8").partition("\n## Doctor\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    documented = {name: needed.strip() for names, needed in rows for name in re.findall(r"`([^`]+)`", names)}
    _, _, found = asked({**environ, "ENVBUILD_ENVIRONMENTS": str(tmp_path)})
    one_for_all = {name: one for name, one in found.items() if not re.fullmatch(r"Python 3\.([7-9]|\d\d)", name)}
    assert list(documented) == list(one_for_all)
    assert {name for name, needed in documented.items() if needed} == NEEDED
