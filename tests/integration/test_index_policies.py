"""Indexes: those that a model names, and logins that must stay out of sight."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import Kit, cli, cli_environ, codes, run_python, versions
from local_index import LocalIndex
from tiny import File, sdist, setup_py, wheel

from envbuild.errors import EnvbuildError, Unresolvable

MakeModel = Callable[..., Path]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("policy", "found"), [("known", False), ("allow", True), ("deny", False)])
@pytest.mark.parametrize("option", ["--extra-index-url", "--index-url", "--find-links"])
def test_an_index_that_a_model_names_counts_by_policy(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex], policy: str, found: bool, option: str
) -> None:
    theirs = make_index().add(wheel("beta", "1.0"))
    kit.index.add(wheel("alpha", "1.0"))
    place = f"{theirs.url}/beta/" if option == "--find-links" else theirs.url
    model = make_model(pip=[f"{option} {place}", "alpha", "beta"])
    # Links alone say no upload times.
    as_of = "now" if option == "--find-links" else "created"
    if found:
        assert versions(kit.lock(model, model_indexes=policy, as_of=as_of)) == {"alpha": "1.0", "beta": "1.0"}
        return
    with pytest.raises(Unresolvable):
        kit.lock(model, model_indexes=policy)
    assert theirs.requests == []


@pytest.mark.parametrize("policy", ["known", "deny"])
def test_an_ignored_index_is_said_with_its_place(kit: Kit, make_model: MakeModel, policy: str) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["--extra-index-url https://index.example/simple", "alpha"])
    locked = kit.lock(model, model_indexes=policy)
    assert codes(locked) == ["index-ignored"]
    assert str(locked.notices[0].place) == f"{model}/conda.yaml:5"


def test_a_models_index_may_hold_the_better_version_where_the_best_of_all_is_wanted(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex]
) -> None:
    theirs = make_index().add(wheel("alpha", "1.5"))
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=[f"--extra-index-url {theirs.url}", "alpha"])
    assert versions(kit.lock(model, model_indexes="allow")) == {"alpha": "1.0"}
    assert versions(kit.lock(model, model_indexes="allow", index_strategy="best-match")) == {"alpha": "1.5"}


def test_trusted_host_in_a_model_has_no_effect_and_is_said(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    locked = kit.lock(make_model(pip=["--trusted-host index.example", "alpha"]))
    assert codes(locked) == ["option-ignored"]


USER, CANARY = "canary-user", "canary-pass/w%rd-5f2a"


def private(index: LocalIndex) -> LocalIndex:
    index.login = (USER, CANARY)
    return index


def forms() -> tuple[str, ...]:
    from urllib.parse import quote

    return (CANARY, quote(CANARY, safe=""), quote(CANARY))


def login(index: LocalIndex, tmp_path: Path, how: str) -> tuple[str, dict[str, str]]:
    """The index's URL and the variables that log in."""
    from urllib.parse import quote

    if how == "url":
        return index.with_login(USER, quote(CANARY, safe="")), {}
    path = tmp_path / "netrc"
    path.write_text(f"machine 127.0.0.1 login {USER} password {CANARY}\n")
    path.chmod(0o600)
    return index.url, {"NETRC": str(path)}


# A setup script that takes what it can see of its surroundings into its wheel.
SPY = """
import json, os, sys
home = os.path.expanduser("~")
seen = {"environ": dict(os.environ), "home": home, "files": [], "argv": []}
for folder, _, names in os.walk(home):
    seen["files"] += [os.path.join(folder, name) for name in names]
pid = os.getpid()
while pid > 1:
    with open("/proc/%d/cmdline" % pid, "rb") as file:
        seen["argv"].append(file.read().decode("utf-8", "replace"))
    with open("/proc/%d/stat" % pid) as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
with open("alpha.py", "w") as file:
    file.write("seen = " + repr(seen) + chr(10))
"""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["url", "netrc"])
def test_a_login_works_and_the_password_is_nowhere_to_be_found(
    kit: Kit, make_model: MakeModel, tmp_path: Path, build_tools: tuple[File, ...], how: str
) -> None:
    spy = sdist("alpha", "1.0", {"setup.py": setup_py("alpha", "1.0", before=SPY), "alpha.py": ""})
    private(kit.index).add(*build_tools, spy, wheel("beta", "1.0"))
    url, variables = login(kit.index, tmp_path, how)
    model = make_model(pip=["alpha", "beta"])
    environ = cli_environ(kit.home, url, **variables)
    log = tmp_path / "log.txt"
    said = []
    for words in (("lock", "-v", "--log-file", log), ("lock", "--json", "--update", "-v"), ("build", "--json", "-v")):
        done = cli(words[0], model, *words[1:], environ=environ)
        assert done.returncode == 0, done.stderr
        said += [done.stdout, done.stderr]
    path = Path(json.loads(said[-2])["path"])
    seen = run_python(path, "import alpha, json; print(json.dumps(alpha.seen))")
    facts = json.loads(seen)
    assert facts["home"] != str(Path.home())
    assert facts["files"] == []
    assert "beta" in run_python(path, "import beta; print(beta.__name__)")
    said += [log.read_text(), json.dumps(facts["environ"]), (model / "MLmodel").read_text()]
    # uv was told nothing; our own argv has it only where the user put it, which is in the environment here.
    said += facts["argv"]
    assert not [text for text in said for form in (*forms(), USER) if form in text]
    assert secrets_below(kit.home) == []


def secrets_below(folder: Path) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [path for form in forms() if form.encode() in content]
    return found


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["url", "netrc"])
def test_no_process_shows_the_password_while_uv_waits_for_the_index(
    kit: Kit, make_model: MakeModel, tmp_path: Path, how: str
) -> None:
    private(kit.index).add(wheel("alpha", "1.0")).open.clear()
    url, variables = login(kit.index, tmp_path, how)
    # By URL it stands in our own environment, as the user put it there; no process of ours may pass it on.
    environ = cli_environ(kit.home, url, **variables)
    argv = [sys.executable, "-m", "envbuild", "lock", str(make_model(pip=["alpha"]))]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert kit.index.waiting.wait(30)
            below = dict(descendants(child.pid))
            shown = [process_text(pid) for pid in below]
        finally:
            kit.index.open.set()
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert [name for name in below.values() if "uv" in Path(name).name], "a uv was there to look at"
    assert not [text for text in [*shown, out.decode(), err.decode()] for form in forms() if form in text]


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """The processes below one, with their programs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = (int(fields[1]), str((entry / "exe").readlink()))
            except OSError:
                continue
    known = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in known} - known:
        known |= more
    yield from ((child, parents[child][1]) for child in known - {pid})


def process_text(pid: int) -> str:
    """What others see of a process; nothing of one that has ended since it was found."""
    folder = Path("/proc") / str(pid)
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return "\n".join((folder / name).read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ"))
    return ""


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "failing", ["wrong password", "server error", "no such package", "gone"], ids=lambda text: text.replace(" ", "-")
)
def test_errors_do_not_show_the_password(kit: Kit, make_model: MakeModel, tmp_path: Path, failing: str) -> None:
    private(kit.index).add(wheel("alpha", "1.0"))
    url, _ = login(kit.index, tmp_path, "url")
    if failing == "wrong password":
        kit.index.login = (USER, "another")
    elif failing == "server error":
        kit.index.status = 500
    elif failing == "gone":
        kit.index.close()
    model = make_model(pip=["nowhere" if failing == "no such package" else "alpha==1.0"], created=None)
    log = tmp_path / "log.txt"
    done = cli("lock", model, "--json", "-v", "--log-file", log, environ=cli_environ(kit.home, url))
    assert done.returncode == 4
    said = [done.stdout, done.stderr, log.read_text()]
    assert not [text for text in said for form in (*forms(), USER) if form in text]
    with pytest.raises(EnvbuildError) as failure:
        kit.lock(model, index_url=url)
    assert not [form for form in forms() if form in json.dumps(failure.value.to_dict())]


def test_a_password_in_a_models_own_index_line_is_not_shown(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex]
) -> None:
    from urllib.parse import quote

    theirs = private(make_index()).add(wheel("beta", "1.0"))
    kit.index.add(wheel("alpha", "1.0"))
    line = f"--extra-index-url {theirs.with_login(USER, quote(CANARY, safe=''))}"
    model = make_model(pip=[line, "alpha", "beta"])
    environ = cli_environ(kit.home, kit.index.url)
    ignored = cli("lock", model, "--json", "-v", environ=environ)
    allowed = cli("lock", model, "--json", "-v", "--model-indexes", "allow", environ=environ)
    assert (ignored.returncode, allowed.returncode) == (4, 0), allowed.stderr
    inspected = cli("inspect", model, "--json", environ=environ)
    said = [text for done in (ignored, allowed, inspected) for text in (done.stdout, done.stderr)]
    assert not [text for text in said for form in forms() if form in text]
    assert secrets_below(kit.home) == []


def test_a_variable_in_a_models_index_line_is_expanded_only_where_it_is_allowed(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex]
) -> None:
    from urllib.parse import quote

    theirs = private(make_index()).add(wheel("beta", "1.0"))
    kit.index.add(wheel("alpha", "1.0"))
    line = f"--extra-index-url {theirs.with_login(USER, '${TOKEN}')}"
    model = make_model(pip=[line, "alpha", "beta"])
    environ = cli_environ(kit.home, kit.index.url, TOKEN=quote(CANARY, safe=""), ENVBUILD_MODEL_INDEXES="allow")
    refused = cli("lock", model, "-v", environ=environ)
    allowed = cli("lock", model, "-v", "--expand", "TOKEN", environ=environ)
    assert (refused.returncode, allowed.returncode) == (4, 0), refused.stderr + allowed.stderr
    said = [text for done in (refused, allowed) for text in (done.stdout, done.stderr)]
    assert not [text for text in said for form in forms() if form in text]
    assert secrets_below(kit.home) == []


def test_settings_files_with_logins_are_gone_afterwards(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    private(kit.index).add(wheel("alpha", "1.0"))
    url, _ = login(kit.index, tmp_path, "url")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = cli("build", make_model(pip=["alpha"]), environ=cli_environ(kit.home, url, TMPDIR=str(temporary)))
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 10
    while list(temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(temporary.iterdir()) == []
