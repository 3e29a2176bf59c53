"""Real pips of several years under their Pythons, with the index as of a date; and how their virtualenvs are made."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from kit import REPO
from local_index import LocalIndex
from tiny import AFTER, BEFORE, File, backend, own_sdist, sdist, setup_py, wheel
from waiting import eventually

from envbuild import interpreters, process, system_errors, uv
from envbuild.dated_index.index import DatedIndex
from envbuild.errors import IndexUnreachable, LockError, StoreError, UsageError
from envbuild.indexes import Indexes
from envbuild.pip import making, running, virtualenv
from envbuild.pip.running import Call, Tools
from envbuild.progress import Step
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.upkeep import Upkeep

# Real pips of many years.
pytestmark = pytest.mark.slow

CUT = datetime(2021, 6, 1, tzinfo=timezone.utc)
OLD_BUILD = {"setuptools": "40.8.0", "wheel": "0.33.1"}
NEW_BUILD = {"setuptools": "65.5.1", "wheel": "0.40.0"}
NEWEST_BUILD = {"setuptools": "75.0.0", "wheel": "0.44.0"}
PINS = {"pip": "22.3.1", "setuptools": "65.5.1", "wheel": "0.38.4"}

GetTools = Callable[[str, str], Tools]


def settings(home: Path, **more: Any) -> Settings:
    return Settings.from_environ({}, home=home, python_downloads=False, **more)


@pytest.fixture(scope="session")
def get_tools(shared_home: Path) -> Iterator[GetTools]:
    """Gives the tools of a Python and a pip, from the real index, kept between runs."""
    known = settings(shared_home)

    def build(python: str) -> Mapping[str, str]:
        return OLD_BUILD if python == "3.6" else NEWEST_BUILD if python in ("3.12", "3.13") else NEW_BUILD

    with DatedIndex(Indexes(), uv.default_index(shared_home), home=shared_home) as real:

        def get(python: str, release: str) -> Tools:
            found = interpreters.find(python, known)
            pins = {"pip": release, **build(python)}
            return making.make_tools(found, pins, real.url, known, lambda step: None, with_pip_tools=True)

        yield get


@pytest.fixture
def index(local_index: LocalIndex, home: Path) -> Iterator[DatedIndex]:
    """The test's own index, as of the cut; it wants a login."""
    local_index.login = ("user", "canary")
    login = Indexes(main=local_index.with_login(*local_index.login))
    with DatedIndex(login, "", cut=CUT, home=home) as opened:
        yield opened


def call(tools: Tools, index: DatedIndex, place: Path, *words: str, **more: Any) -> process.Completed:
    report = more.pop("report", lambda step: None)
    known = settings(place / "home")
    asked = Call(tools=tools, arguments=words, settings=known, index_url=index.url, cwd=place, timeout=300, **more)
    return running.run(asked, report)


def compiled(tools: Tools, index: DatedIndex, place: Path, *lines: str) -> str:
    (place / "asked.in").write_text("\n".join(lines) + "\n")
    words = ("piptools", "compile", "--allow-unsafe", "--no-header", "--output-file", "out.txt", "asked.in")
    done = call(tools, index, place, *words)
    assert done.returncode == 0, done.stderr
    return (place / "out.txt").read_text()


def demanding() -> tuple[File, ...]:
    """Packages that a resolver must look into: wheels, an sdist, an extra, and what is younger than the cut."""
    script = {"setup.py": setup_py("src", "1.0", "install_requires=['base']"), "src.py": ""}
    return (
        wheel("own", "1.0", requires=["base<2"]),
        wheel("own", "2.0", uploaded=AFTER),
        wheel("base", "1.5"),
        wheel("base", "2.0"),
        wheel("base", "1.6", uploaded=AFTER),
        wheel("extra", "1.0", extras={"more": ["own"]}),
        sdist("src", "1.0", script),
        sdist("src", "2.0", script, uploaded=AFTER),
    )


# Each row of the table of pip-tools, at its first and last pip.
ROWS = [
    ("3.6", "9.0.3"),
    ("3.6", "10.0.1"),
    ("3.6", "20.0.2"),
    ("3.6", "20.1.1"),
    ("3.6", "21.0.1"),
    ("3.6", "21.1.3"),
    ("3.6", "21.3.1"),
    ("3.8", "21.2"),
    ("3.8", "21.3.1"),
    ("3.8", "22.0.4"),
    ("3.8", "22.1.2"),
    ("3.8", "22.2.2"),
    ("3.7", "23.1.2"),
    ("3.8", "25.0.1"),
    ("3.11", "25.1.1"),
    ("3.13", "25.3"),
    ("3.13", "26.0"),
    ("3.13", "26.3"),
]
QUICK = [("3.6", "19.0.3"), ("3.11", "24.0")]


@pytest.mark.parametrize(
    ("python", "release"),
    [*QUICK, *ROWS[::3], *(pytest.param(*row, marks=pytest.mark.soak) for row in ROWS if row not in ROWS[::3])],
)
def test_a_pip_of_its_time_sees_the_newest_as_of_the_cut(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path, python: str, release: str
) -> None:
    local_index.add(*demanding(), wheel("extra", "1.5"))
    if int(release.partition(".")[0]) >= 25:
        # From here on every sdist is built in an environment of its own, which needs a backend from the index.
        local_index.files = [file for file in local_index.files if file.project != "src"]
        local_index.add(backend(), own_sdist("src", "1.0"), own_sdist("src", "2.0", uploaded=AFTER))
    local_index.said["extra-1.5-py3-none-any.whl"] = {"requires-python": ">=3.99", "yanked": "broken"}
    tools = get_tools(python, release)
    assert (tools.pip, tools.interpreter.minor) == (release, python)
    found = compiled(tools, index, tmp_path, "own", "src", "extra[more]")
    lines = [line.split("#")[0].strip() for line in found.splitlines()]
    assert {line for line in lines if "==" in line} == {"base==1.5", "extra[more]==1.0", "own==1.0", "src==1.0"}
    assert "via" in found
    assert "127.0.0.1" not in found.replace(index.url, "")
    assert index.refusals == ()


@pytest.mark.parametrize(("python", "release"), QUICK)
def test_a_yanked_release_is_left_alone_by_those_who_know_what_that_is(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path, python: str, release: str
) -> None:
    local_index.add(wheel("own", "1.0"), wheel("own", "1.1"))
    local_index.said["own-1.1-py3-none-any.whl"] = {"yanked": "it was a mistake"}
    knows = release != "19.0.3"
    expected = "own==1.0" if knows else "own==1.1"
    assert expected in compiled(get_tools(python, release), index, tmp_path, "own")
    if knows:
        assert "own==1.1" in compiled(get_tools(python, release), index, tmp_path, "own==1.1")


def test_a_new_pip_resolves_by_the_metadata_alone(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path
) -> None:
    local_index.add(wheel("base", "1.0"), wheel("base", "2.0"))
    for version, base in (("1.0", "1.0"), ("2.0", "2.0")):
        own = wheel("own", version, requires=[f"base=={base}"])
        local_index.add(own).said[own.name] = {"core-metadata": True}
        words = f"Metadata-Version: 2.1\nName: own\nVersion: {version}\nRequires-Dist: base=={base}\n"
        local_index.served[f"{own.name}.metadata"] = words.encode()
    tools = get_tools("3.11", "24.0")
    done = call(tools, index, tmp_path, "pip", "download", "--dest", "place", "own", "base<2")
    assert done.returncode == 0, done.stderr
    assert {path.name.partition("-py")[0] for path in (tmp_path / "place").iterdir()} == {"own-1.0", "base-1.0"}
    asked = {path.rpartition("/")[2] for path in local_index.requests}
    assert "own-2.0-py3-none-any.whl.metadata" in asked
    assert "own-2.0-py3-none-any.whl" not in asked


@pytest.mark.parametrize(("python", "release"), QUICK)
def test_a_file_that_is_not_the_listed_one_is_not_installed(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path, python: str, release: str
) -> None:
    own = wheel("own", "1.0")
    local_index.add(own).served[own.name] = wheel("own", "1.0", modules={"own.py": "bad = True\n"}).content
    done = call(get_tools(python, release), index, tmp_path, "pip", "install", "--target", "place", "own")
    assert done.returncode != 0
    assert not (tmp_path / "place" / "own.py").exists()
    assert own.sha256 in index.refusals[0]


# What a setup script writes of all that it can read: its own environment, and its parents' commands and environments.
SPY = """
import os
def parents():
    pid = os.getpid()
    while pid > 1 and pid != {ours}:
        yield pid
        pid = int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
with open({place!r}, "ab") as file:
    for pid in parents():
        for name in ("cmdline", "environ"):
            file.write(open("/proc/%d/%s" % (pid, name), "rb").read() + b"\\n")
"""


@pytest.mark.parametrize(("python", "release"), QUICK)
def test_credentials_never_reach_pip_nor_what_it_runs(
    get_tools: GetTools,
    local_index: LocalIndex,
    index: DatedIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    python: str,
    release: str,
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "canary-of-the-user")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:canary-too@127.0.0.1:1/simple")
    monkeypatch.setenv("HTTP_PROXY", "http://canary-as-well@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    spy = SPY.format(ours=os.getpid(), place=str(tmp_path / "seen"))
    script = {"setup.py": setup_py("src", "1.0", before=spy), "src.py": ""}
    local_index.add(sdist("src", "1.0", script))
    tools = get_tools(python, release)
    done = call(tools, index, tmp_path, "pip", "wheel", "--no-build-isolation", "--no-deps", "src")
    assert done.returncode == 0, done.stderr
    seen = (tmp_path / "seen").read_bytes()
    assert b"PIP_INDEX_URL" in seen
    # Else the machine's own settings (/etc/pip.conf) would count.
    assert b"PIP_CONFIG_FILE=/dev/null" in seen
    assert b"canary" not in seen
    assert index.url.split("/")[3] not in done.stdout + done.stderr
    arguments = [line for line in seen.split(b"\n") if b"-m\0pip\0" in line]
    assert arguments
    assert not any(b"http" in line for line in arguments)


@pytest.mark.parametrize(("python", "release"), QUICK)
def test_what_a_setup_script_asks_for_comes_from_the_index_as_of_the_cut(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path, python: str, release: str
) -> None:
    local_index.add(wheel("own-helper", "1.0"), wheel("own-helper", "2.0", uploaded=AFTER))
    text = "from setuptools import setup\nsetup(name='src', version='1.0', setup_requires=['own-helper'], py_modules=['src'])\n"
    text += f"import own_helper\nopen({str(tmp_path / 'seen')!r}, 'w').write(own_helper.version)\n"
    local_index.add(sdist("src", "1.0", {"setup.py": text, "src.py": ""}))
    tools = get_tools(python, release)
    done = call(tools, index, tmp_path, "pip", "wheel", "--no-build-isolation", "--no-deps", "src")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen").read_text() == "1.0"


def test_what_pip_does_is_said_step_by_step(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path
) -> None:
    local_index.add(*demanding())
    for python, release in QUICK:
        steps: list[Step] = []
        words = ("pip", "install", "--no-build-isolation", "--target", f"place{python}", "own", "src")
        done = call(get_tools(python, release), index, tmp_path, *words, report=steps.append)
        assert done.returncode == 0, done.stderr
        said = {(step.phase, step.text) for step in steps}
        assert {("resolving", "own"), ("downloading", "own-1.0-py3-none-any.whl"), ("building", "src")} <= said
        assert steps[-1].done
        assert steps[-1].phase == "installing"
        assert "own-1.0" in steps[-1].text


def test_a_pip_that_takes_too_long_is_stopped(
    get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path
) -> None:
    local_index.add(wheel("own", "1.0")).open.clear()
    known = settings(tmp_path / "home")
    words = ("pip", "download", "own")
    asked = Call(tools=get_tools("3.6", "19.0.3"), arguments=words, settings=known, index_url=index.url, timeout=2.0)
    with pytest.raises(process.TimedOutWaiting):
        running.run(asked, lambda step: None)
    local_index.open.set()


def test_without_an_index_nobody_is_asked(get_tools: GetTools, tmp_path: Path) -> None:
    own = wheel("own", "1.0")
    (tmp_path / own.name).write_bytes(own.content)
    known = settings(tmp_path / "home")
    for words, expected in (
        (("pip", "install", "--target", "place", "--find-links", str(tmp_path), "own"), 0),
        (("pip", "install", "--target", "place", "six"), 1),
    ):
        asked = Call(tools=get_tools("3.6", "19.0.3"), arguments=words, settings=known, cwd=tmp_path, timeout=60)
        assert running.run(asked, lambda step: None).returncode == expected


# Both engines see the same


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_uv_sees_the_same_as_of_the_cut(local_index: LocalIndex, tmp_path: Path, times: bool, linked: bool) -> None:
    local_index.add(wheel("own", "1.0", uploaded=BEFORE), wheel("own", "2.0", uploaded="2021-06-01T00:00:00Z"))
    local_index.upload_times = times
    own = wheel("own", "0.5")
    (tmp_path / own.name).write_bytes(own.content)
    indexes = Indexes(main=local_index.url, find_links=(str(tmp_path),) if linked else ())
    known = settings(tmp_path / "home")
    words = ["pip", "compile", "-", "--no-header", "--no-annotate", "--exclude-newer", "2021-06-01T00:00:00Z"]
    python = interpreters.find("3.8", known).executable
    asked = uv.Call(arguments=[*words, "--python", python], settings=known, indexes=indexes, stdin="own\n")
    done = uv.run(asked, lambda step: None)
    with DatedIndex(indexes, "", cut=CUT, home=known.home) as index:
        ours = [file.version for file in index.files("own") if file.version is not None]
    assert done.stdout.split() == ([f"own=={max(ours)}"] if ours else []), done.stderr


# The virtualenvs

MAKING = """
import os, signal, sys
from pathlib import Path
from envbuild import faults, interpreters
from envbuild.dated_index.index import DatedIndex
from envbuild.indexes import Indexes
from envbuild.pip import making
from envbuild.settings import Settings

def reached(name):
    print("step:", name, flush=True)
    if name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

faults.reached = reached
known = Settings.from_environ({}, home=Path(sys.argv[1]), python_downloads=False)
with DatedIndex(Indexes(main=sys.argv[2]), "", home=known.home) as index:
    python = interpreters.find("3.8", known)
    report = lambda step: print("report:", step.phase, flush=True)
    made = making.make_tools(python, PINS, index.url, known, report, with_pip_tools=False)
    print("made:", made.python)
"""


@pytest.fixture(scope="session")
def pip_alone(build_tools: tuple[File, ...]) -> tuple[File, ...]:
    """The real pip, with a setuptools and a wheel that are quick to install."""
    return (
        *(file for file in build_tools if file.project == "pip"),
        wheel("setuptools", PINS["setuptools"]),
        wheel("wheel", PINS["wheel"]),
    )


def start_making(home: Path, index: LocalIndex, kill: str = "") -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", f"PINS = {PINS!r}\n{MAKING}", str(home), index.url, kill]
    environ = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def make_here(home: Path, url: str, **more: Any) -> Tools:
    known = settings(home, **more)
    with DatedIndex(Indexes(main=url), "", home=home, offline=known.offline) as index:
        python = interpreters.find("3.8", known)
        return making.make_tools(python, PINS, index.url, known, lambda step: None, with_pip_tools=False)


def installed(tools: Tools) -> set[str]:
    done = subprocess.run(
        [tools.python, "-I", "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_two_who_want_the_same_tools_at_once_make_them_once(
    local_index: LocalIndex, pip_alone: tuple[File, ...], home: Path
) -> None:
    local_index.add(*pip_alone).open.clear()
    first = start_making(home, local_index)
    assert local_index.waiting.wait(60)
    second = start_making(home, local_index)
    assert second.stdout is not None
    eventually(lambda: "waiting" in second.stdout.readline(), "the second waits")
    local_index.open.set()
    answers = [child.communicate(timeout=120) for child in (first, second)]
    assert [child.returncode for child in (first, second)] == [0, 0], answers
    assert [out.count("step: tools installed") for out, _ in answers] == [1, 0]
    made = {line for out, _ in answers for line in out.splitlines() if line.startswith("made:")}
    assert len(made) == 1
    assert installed(make_here(home, local_index.url)) == {f"{name}=={version}" for name, version in PINS.items()}


@pytest.mark.parametrize("step", ["tools installed", "virtualenv of the tools made"])
def test_tools_that_were_half_made_when_killed_are_made_again(
    local_index: LocalIndex, pip_alone: tuple[File, ...], home: Path, step: str
) -> None:
    local_index.add(*pip_alone)
    killed = start_making(home, local_index, kill=step)
    assert killed.wait(120) == -signal.SIGKILL
    killed.communicate()
    made = make_here(home, local_index.url)
    assert installed(made) == {f"{name}=={version}" for name, version in PINS.items()}
    assert [path.name for path in (home / "store" / "v1" / "held").iterdir()] == []
    assert list((home / "store" / "v1" / "trash").iterdir()) == []


def test_tools_are_made_anew_offline_where_they_are_damaged_and_go_with_the_caches(
    local_index: LocalIndex, pip_alone: tuple[File, ...], home: Path
) -> None:
    local_index.add(*pip_alone)
    made = make_here(home, local_index.url)
    asked = len(local_index.requests)
    made.python.unlink()
    assert make_here(home, local_index.url, offline=True) == made
    assert installed(made) == {f"{name}=={version}" for name, version in PINS.items()}
    assert len(local_index.requests) == asked
    upkeep = Upkeep(Store(settings(home)))
    assert upkeep.parts()["downloads of pip"] > 5_000_000
    assert upkeep.clean_caches((), lambda step: None) is None
    assert upkeep.parts()["downloads of pip"] == 0


def test_what_is_not_pinned_is_the_newest_that_fits_the_python(local_index: LocalIndex, home: Path) -> None:
    local_index.add(wheel("pip", "20.0"), wheel("pip", "21.0"), wheel("pip", "22.0rc1"), wheel("pip", "23.0"))
    local_index.add(wheel("pip", "19.0", uploaded=AFTER), wheel("setuptools", "50.0"), wheel("wheel", "0.1"))
    local_index.said["pip-23.0-py3-none-any.whl"] = {"requires-python": ">=3.9"}
    local_index.said["pip-21.0-py3-none-any.whl"] = {"yanked": "broken"}
    known = settings(home)
    with DatedIndex(Indexes(main=local_index.url), "", home=home) as index:
        found = making._pinned({"wheel": "0.2"}, index.url, interpreters.find("3.8", known))
    assert found == {"pip": "20.0", "setuptools": "50.0", "wheel": "0.2"}


def test_what_the_index_does_not_have_is_said(local_index: LocalIndex, pip_alone: tuple[File, ...], home: Path) -> None:
    local_index.add(*pip_alone)
    known = settings(home)
    python = interpreters.find("3.8", known)
    with DatedIndex(Indexes(main=local_index.url), "", home=home) as index:
        for pins, words, hint in (
            ({**PINS, "pip": "22.99"}, "no wheel of pip 22.99", "--set"),
            ({**PINS, "setuptools": "1"}, "setuptools==1, wheel==0.38.4 cannot be installed", "--engine uv"),
        ):
            with pytest.raises(LockError, match=words) as caught:
                making.make_tools(python, pins, index.url, known, lambda step: None, with_pip_tools=False)
            assert hint in (caught.value.hint or "")
    local_index.status = 503
    with (
        DatedIndex(Indexes(main=local_index.url), "", home=home) as index,
        pytest.raises(IndexUnreachable, match="answers 503 for pip"),
    ):
        making.make_tools(python, {}, index.url, known, lambda step: None, with_pip_tools=False)


@pytest.mark.parametrize(("python", "release"), [("3.8", "7.1"), ("3.6", "22.0"), ("3.6", "24.0")])
def test_a_pip_that_no_pip_tools_fits_is_said(home: Path, python: str, release: str) -> None:
    known = settings(home)
    pins = {**PINS, "pip": release}
    with pytest.raises(LockError, match=f"no pip-tools works with pip {release} under Python {python}") as caught:
        making.make_tools(interpreters.find(python, known), pins, "", known, lambda step: None, with_pip_tools=True)
    assert "--engine uv" in (caught.value.hint or "")


def test_without_virtualenv_the_extra_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "virtualenv", None)  # type: ignore[arg-type]
    known = settings(home)
    with pytest.raises(UsageError, match="virtualenv is not installed") as caught:
        making.make_tools(interpreters.find("3.8", known), PINS, "", known, lambda step: None, with_pip_tools=False)
    assert "envbuild[pip]" in (caught.value.hint or "")


def test_a_bare_virtualenv_holds_nothing_and_leaves_nothing_beside_it(home: Path, tmp_path: Path) -> None:
    known = settings(home)
    virtualenv.create(tmp_path / "own", interpreters.find("3.6", known), known, lambda step: None)
    (packages,) = (tmp_path / "own" / "lib" / "python3.6").iterdir()
    assert {path.name for path in packages.iterdir()} <= {"_virtualenv.py", "_virtualenv.pth"}
    assert not any(path.name.startswith("envbuild-virtualenv-") for path in tmp_path.parent.iterdir())


# The store's troubles


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", errno.ENOSPC),
        ("[Errno 13] Permission denied: '{home}/pip/tools/x'", errno.EACCES),
        ("[Errno 30] Read-only file system: '{home}/x'", errno.EROFS),
        ("[Errno 13] Permission denied: '/etc/x'", None),
        ("[Errno 2] No such file or directory: '{home}/x'", None),
        ("in {home}: [Errno 13] Permission denied: 'own.txt'", None),
    ],
)
def test_the_systems_errors_are_told_from_those_of_sdists(tmp_path: Path, words: str, number: int | None) -> None:
    found = system_errors.in_words(words.format(home=tmp_path), tmp_path)
    assert (None if found is None else found.errno) == number


def test_a_full_disk_is_said(get_tools: GetTools, local_index: LocalIndex, index: DatedIndex, tmp_path: Path) -> None:
    local_index.add(sdist("src", "1.0", {"setup.py": "raise OSError(28, 'No space left on device')\n"}))
    with pytest.raises(StoreError, match="no space left"):
        call(get_tools("3.6", "19.0.3"), index, tmp_path, "pip", "wheel", "src")
