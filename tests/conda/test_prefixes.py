"""Prefixes with pip's half on top: whose file is whose, what is shared with the cache, what a kill leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_packages
from channel import Channel, Channels, Package, script, text
from channel_server import ChannelServer
from kit import REPO, Kit, cli, cli_environ, run_python
from tiny import wheel

from envbuild import lock_files, pipeline, process
from envbuild.errors import (
    BuildError,
    HashMismatch,
    IndexUnreachable,
    InterpreterNotFound,
    LockError,
    Unresolvable,
    UsageError,
)
from envbuild.settings import LinkMode
from envbuild.store import Store
from envbuild.store.upkeep import Upkeep
from envbuild.store.verification import findings
from envbuild.target import here

MakeModel = Callable[..., Path]
MakeChannel = Callable[..., Channel]
Of = Callable[..., Path]
LOADER = """
import os, sys

class Says:
    def predict(self, data):
        import alpha
        names = ("ACTIVATED_HOME", "VARIABLES_LEVEL", "OF_MODEL", "CONDA_PREFIX", "VIRTUAL_ENV")
        return [[alpha.version, sys.prefix, *(os.environ.get(name) for name in names)]]

def _load_pyfunc(path):
    return Says()
"""
SITE = "lib/python3.8/site-packages"


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """The pipeline with conda packages from channels, and a wheel on the index."""
    kit.more |= {"conda_packages": "conda", "model_indexes": "allow"}
    kit.index.add(wheel("alpha", "1.0"))
    return kit


@pytest.fixture
def model_of(make_model: MakeModel, own_channel: Channel, channels: Channels) -> Of:
    """Writes a model that asks for conda packages of the test's own channel, on top of a real CPython 3.8."""

    def make(*conda: str, name: str = "model", pip: Sequence[str] = ("alpha",), more: str = "") -> Path:
        model = make_model(name, conda=conda, pip=pip, loader=LOADER, created="2022-12-01 12:00:00")
        named = [own_channel.url, channels.forge.url, "nodefaults"]
        (model / "conda.yaml").write_text(f"channels: {json.dumps(named)}\n{more}" + (model / "conda.yaml").read_text())
        (model / "in.json").write_text('{"inputs": [1]}')
        return model

    return make


def environ_of(kit: Kit) -> dict[str, str]:
    allowed = {"ENVBUILD_CONDA_PACKAGES": "conda", "ENVBUILD_MODEL_INDEXES": "allow"}
    return cli_environ(kit.home, kit.index.url, **allowed)


def predicted(kit: Kit, model: Path) -> list[str | None]:
    environ = environ_of(kit)
    done = cli("predict", model, model / "in.json", environ=environ)
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)["predictions"]
    return list(said)


def test_a_model_sees_what_its_packages_and_its_conda_yaml_set(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.ACTIVATED, tiny_packages.VARIABLES)
    model = model_of("activated", "variables", more="variables: {OF_MODEL: a b, VARIABLES_LEVEL: 9}\n")
    prefix = str(kit.build(model).environment.path)
    # What is in a prefix is compiled there: its standard library too, which nobody else has.
    assert Path(prefix, "lib/python3.8/json/__pycache__/__init__.cpython-38.pyc").is_file()
    assert predicted(kit, model) == ["1.0", prefix, f"{prefix}/share/activated", "9", "a b", prefix, None]
    environ = environ_of(kit)
    done = cli("run", model, "--", "sh", "-c", 'echo "$ACTIVATED_HOME $OF_MODEL"', environ=environ)
    assert done.stdout == f"{prefix}/share/activated a b\n"


@pytest.mark.slow
def test_what_solves_its_conda_packages_installs_them(
    kit: Kit, own_channel: Channel, model_of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_channel.add(tiny_packages.VARIABLES)
    started, start = list[str](), process.start

    def counted(argv: Sequence[str], **how: Any) -> process.Child:
        started.extend(word for word in argv if word.endswith("conda/program.py"))
        return start(argv, **how)

    monkeypatch.setattr(process, "start", counted)
    settings = kit.settings()
    built = pipeline.provide(pipeline.ask(model_of("variables"), settings), settings)
    built.lease.release()
    assert built.was_built
    assert len(started) == 1
    again = pipeline.provide(built.locked.asked, settings)
    again.lease.release()
    assert (again.was_built, len(started)) == (False, 1)


def test_by_default_channels_are_asked_where_the_extra_is_installed(
    kit: Kit, own_channel: Channel, model_of: Of, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_channel.add(Package(name="six"))
    kit.index.add(wheel("six", "1.0"))
    kit.more["conda_packages"] = "auto"
    model = model_of("six")
    with_it = kit.lock(model).lock
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    without = kit.lock(model).lock
    said = "conda.yaml's own packages (six)"
    assert with_it.conda is not None
    assert with_it.origin.conda_reason == f"{said} come from their channels: envbuild[conda] is installed"
    assert (without.conda, without.version_of("six")) == (None, "1.0")
    assert without.origin.conda_reason == f"{said} are taken from the index: envbuild[conda] is not installed"


def test_other_variables_are_another_environment(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.VARIABLES)
    hashes = {
        kit.lock(model_of("variables", name=name, more=more)).lock.hash
        for name, more in (("one", ""), ("two", "variables: {A: 1}\n"), ("three", "variables: {A: 2}\n"))
    }
    assert len(hashes) == 3


@pytest.mark.sampled(2)
@pytest.mark.parametrize("link_mode", ["hardlink", "copy"])
def test_what_pip_brings_over_a_conda_file_leaves_the_cache_and_other_prefixes_alone(
    kit: Kit, own_channel: Channel, model_of: Of, link_mode: LinkMode
) -> None:
    """Both bring a program and a module of one name: pip's is the later one, as in conda's own environments."""
    files = {"bin/tool": script("#!/bin/sh\necho conda\n"), f"{SITE}/shared_name.py": text("by = 'conda'\n")}
    own_channel.add(Package(name="brings-tool", depends=("python",), files=files))
    kit.index.add(
        wheel(
            "omega",
            "1.0",
            modules={"omega-1.0.data/scripts/tool": "#!/bin/sh\necho pip\n", "shared_name.py": "by = 'pip'\n"},
        )
    )
    kit.more["link_mode"] = link_mode
    both = kit.build(model_of("brings-tool", pip=["alpha", "omega"])).environment
    alone = kit.build(model_of("brings-tool", name="alone")).environment
    for environment, who in ((both, "pip"), (alone, "conda")):
        assert subprocess.check_output([environment.path / "bin" / "tool"], text=True) == f"{who}\n"
        assert run_python(environment.path, "import shared_name; print(shared_name.by)") == who
        assert findings(environment.path) == []
    cached = [path for path in (kit.home / "conda").rglob("tool") if "bin" in path.parts]
    assert [path.read_text() for path in cached] == ["#!/bin/sh\necho conda\n"]
    program = alone.path / "bin" / "tool"
    assert program.samefile(cached[0]) == (link_mode == "hardlink")


@pytest.mark.slow
def test_what_was_changed_afterwards_is_found_and_built_again(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.PLACED)
    model = model_of("placed")
    place = kit.build(model).environment.path
    environ = environ_of(kit)
    changed = place / "share" / "placed.txt"
    changed.chmod(0o644)
    changed.write_text("other\n")
    (place / "conda-meta" / "placed-1.0-0.json").unlink()
    (place / "lib" / "added.so").touch()
    done = cli("verify", model, environ=environ)
    assert done.returncode != 0
    for words in ("share/placed.txt", "placed 1.0 0", "lib/added.so"):
        assert words in done.stderr
    assert cli("verify", model, "--repair", environ=environ).returncode == 0
    assert findings(place) == []
    assert changed.read_text() == f"prefix={place}\nlib={place}/lib\n"


def test_a_package_that_the_channel_has_changed_is_not_installed(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    package = Package(name="steady", files={"share/steady.txt": text("as it was\n")})
    own_channel.add(package)
    locked = kit.lock(model := model_of("steady"))
    other = Package(name="steady", files={"share/steady.txt": text("changed\n")})
    own_channel.file(package).write_bytes(other.content())
    with pytest.raises(HashMismatch, match="steady"):
        kit.build(model)
    # And nothing is left of the attempt.
    assert not list(Store(kit.settings()).root.glob(f"environments/{locked.lock.hash}/*"))


@pytest.mark.slow
def test_what_is_damaged_in_the_cache_is_fetched_anew(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.PLACED, tiny_packages.LINKED)
    kit.more["link_mode"] = "copy"
    kit.build(model_of("placed", "linked", name="first"))
    (cached,) = kit.home.glob("conda/linked-1.0-0/share/linked.txt")
    cached.chmod(0o644)
    # As long as it was: a glance does not tell.
    cached.write_text("damage")
    place = kit.build(model_of("linked", name="second")).environment.path
    assert (place / "share" / "linked.txt").read_text() == "linked\n"
    assert findings(place) == []


@pytest.mark.slow
def test_the_caches_of_conda_packages_are_counted_and_cleaned(kit: Kit, model_of: Of, own_channel: Channel) -> None:
    own_channel.add(tiny_packages.LINKED)
    place = kit.build(model_of("linked")).environment.path
    assert not (place / "post-link-was-run").exists()
    upkeep = Upkeep(Store(kit.settings()))
    assert (kit.home / "conda").is_dir()
    assert upkeep.clean_caches((), lambda step: None) is None
    assert not (kit.home / "conda").exists()
    assert findings(place) == []


@pytest.mark.slow
def test_scripts_of_packages_are_run_where_the_deployer_lets_them_and_the_lock_says_so(
    kit: Kit, own_channel: Channel, model_of: Of
) -> None:
    own_channel.add(tiny_packages.LINKED)
    model = model_of("linked")
    without, with_scripts = kit.build(model), kit.build(model, link_scripts=True)
    assert without.locked.lock.hash != with_scripts.locked.lock.hash
    assert not (without.environment.path / "post-link-was-run").exists()
    assert (with_scripts.environment.path / "post-link-was-run").exists()
    said = {notice.code: notice.message for notice in without.notices}
    assert "that linked would run" in said["link-scripts"]
    assert "link-scripts" not in {notice.code for notice in with_scripts.notices}
    assert findings(with_scripts.environment.path) == []
    # A lock alone lets nobody.
    text = lock_files.text_of(with_scripts.locked.lock, "conda-lock")
    (model / "conda-lock.yml").write_text(text)
    with_scripts.lease.release()
    upkeep = Upkeep(Store(kit.settings()))
    assert upkeep.remove(upkeep.kept(with_scripts.environment.path)) is None
    with pytest.raises(BuildError, match="nobody here does"):
        kit.build(model)


def test_a_built_prefix_needs_no_channel_any_more(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.LINKED)
    model = model_of("linked")
    built = kit.build(model)
    (own_channel.root / "noarch" / "repodata.json").unlink(missing_ok=True)
    again = kit.build(model, offline=True)
    assert (again.was_built, again.environment) == (False, built.environment)
    assert again.locked.source == "kept"


@pytest.mark.parametrize("policy", ["known", "deny"])
def test_a_model_s_own_channel_needs_the_deployer_s_leave(
    kit: Kit, own_channel: Channel, channels: Channels, model_of: Of, policy: str
) -> None:
    own_channel.add(tiny_packages.LINKED)
    model = model_of("linked")
    with pytest.raises(LockError, match="not known") as caught:
        kit.lock(model, model_indexes=policy)
    assert own_channel.url in caught.value.message
    assert "--model-indexes allow" in (caught.value.hint or "")
    mirrors = tuple((one.url, one.url) for one in (own_channel, channels.forge))
    assert kit.lock(model, model_indexes=policy, conda_mirror=mirrors).lock.conda is not None
    # What the deployer writes is the deployer's word.
    kit.index.add(*(wheel(name, "1.0") for name in ("pip", "setuptools", "wheel")))
    theirs = kit.lock(model_of(name="plain"), model_indexes=policy, conda_env=model / "conda.yaml").lock
    assert theirs.conda is not None
    assert theirs.conda.version_of("linked") == "1.0"


@pytest.mark.slow
def test_a_login_is_taken_from_netrc(
    kit: Kit,
    served_channel: ChannelServer,
    own_channel: Channel,
    model_of: Of,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_channel.add(tiny_packages.LINKED)
    model = model_of("linked")
    listed = (model / "conda.yaml").read_text()
    (model / "conda.yaml").write_text(listed.replace(own_channel.url, served_channel.url("own")))
    served_channel.login = ("somebody", "canary")
    with pytest.raises(IndexUnreachable, match="401"):
        kit.lock(model)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    place = kit.build(model, retry=True).environment.path
    assert (place / "share" / "linked.txt").is_file()
    texts = [path for path in kit.home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in texts if b"canary" in path.read_bytes()]


def test_pip_as_engine_is_refused(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.LINKED)
    with pytest.raises(UsageError, match="conda packages") as caught:
        kit.lock(model_of("linked"), engine="pip")
    assert "--engine uv" in (caught.value.hint or "")
    assert kit.lock(model_of("linked", name="other"), engine="auto").lock.conda is not None


def test_what_the_deployer_removes_is_not_asked_of_channels(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.LINKED, tiny_packages.VARIABLES, Package(name="needing", depends=("linked",)))
    lock = kit.lock(model_of("linked", "variables"), remove=("linked",)).lock
    assert lock.conda is not None
    assert {"variables", "python"} <= {package.name for package in lock.conda.packages}
    assert lock.conda.version_of("linked") is None
    # Where nothing is left to be asked of them, it is a plain virtualenv.
    assert kit.lock(model_of("linked", name="none"), remove=("linked",)).lock.conda is None


def test_conda_and_pip_that_contradict_each_other_are_both_named(kit: Kit, model_of: Of) -> None:
    kit.index.add(wheel("needs-old", "1.0", requires=["numpy<1.17"]))
    with pytest.raises(Unresolvable) as caught:
        kit.lock(model_of("numpy", pip=["alpha", "needs-old"]))
    said = " ".join([caught.value.message, *caught.value.details])
    assert "needs-old" in said
    assert "conda: numpy 1.23.4" in said


def test_no_repair_takes_another_python_than_conda_s(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    """On the index it is for 3.9 alone, which a plain virtualenv may take by consent."""
    own_channel.add(Package(name="six"))
    platform = here("3.9").platform
    kit.index.add(wheel("of-39", "1.0", tag=f"cp39-cp39-{platform}"), wheel("six", "1.0"))
    kit.more["allow_repair"] = ("neighbouring-python", "python-by-wheels")
    assert kit.lock(model_of("six", pip=["of-39==1.0"]), conda_packages="map").lock.python == "3.9"
    with pytest.raises(Unresolvable):
        kit.lock(model_of("six", name="other", pip=["of-39==1.0"]))


@pytest.mark.slow
def test_a_python_that_calls_itself_managed_by_others_is_filled_all_the_same(
    kit: Kit, own_channel: Channel, model_of: Of
) -> None:
    """The mark (PEP 668) is meant for a base environment that people work in."""
    mark = {"lib/python3.8/EXTERNALLY-MANAGED": text("[externally-managed]\nError=use conda\n")}
    own_channel.add(Package(name="marks-python", files=mark))
    assert predicted(kit, model_of("marks-python"))[0] == "1.0"


def test_pip_asks_the_index_for_nothing_that_conda_has_brought(kit: Kit, model_of: Of) -> None:
    """The index does not even have numpy."""
    kit.index.add(wheel("needs-numpy", "1.0", requires=["numpy>=1.20"]))
    locked = kit.lock(model_of("numpy", pip=["alpha", "needs-numpy"]))
    assert {package.name for package in locked.lock.packages} == {"alpha", "needs-numpy"}


def killed(kit: Kit, name: str, nth: int, model: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, REPO / "tests" / "killed.py", name, str(nth), "build", model],
        env=environ_of(kit),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["conda packages installed", "activation kept", "installed", "byte code linked", "synced"]
)
def test_killed_at_a_step_the_next_build_succeeds(kit: Kit, own_channel: Channel, model_of: Of, step: str) -> None:
    """The steps that a prefix has more than a virtualenv, and some of both."""
    own_channel.add(tiny_packages.PLACED)
    model = model_of("placed")
    assert killed(kit, step, 1, model).returncode == -signal.SIGKILL
    said = predicted(kit, model)
    assert said[0] == "1.0"
    assert findings(Path(said[1] or "")) == []


def test_a_machine_may_be_named_in_place_of_this_one(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(*tiny_packages.GLIBC_BUILDS, *tiny_packages.CUDA_BUILDS)
    model = model_of("glibc-bound", "with-cuda")

    def builds(**changes: str | tuple[str, ...]) -> tuple[str, ...]:
        half = kit.lock(model, **changes).lock.conda
        assert half is not None
        return tuple(one.build for one in half.packages if one.name in ("glibc-bound", "with-cuda"))

    assert builds() == ("old_0", "cpu_0")
    assert builds(virtual_package=("__glibc=2.99", "__cuda=11.4")) == ("old_0", "cuda_1")
    assert builds(accelerator="cu118") == ("old_0", "cuda_1")
    with pytest.raises(Unresolvable, match="__glibc"):
        kit.lock(model, virtual_package=("__glibc=2.5",))


def test_a_platform_that_conda_does_not_know_is_said(kit: Kit, own_channel: Channel, model_of: Of) -> None:
    own_channel.add(tiny_packages.LINKED)
    known = kit.settings()
    asked = pipeline.ask(model_of("linked"), known)
    with pytest.raises(LockError, match="Linux with glibc alone") as caught:
        pipeline.lock(asked, known, platform="musllinux_1_2_x86_64")
    assert "--conda-packages map" in (caught.value.hint or "")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("version", ["3.8", "3.8.18"])
def test_conda_s_channel_is_a_source_of_pythons(
    kit: Kit, channels: Channels, make_model: MakeModel, version: str
) -> None:
    model = make_model(pip=["alpha"], python=version)
    kit.more |= {"python_source": "conda", "python_downloads": True, "conda_mirror": channels.mirrors}
    built = kit.build(model)
    assert built.locked.lock.conda is None
    assert built.environment.interpreter.version == "3.8.18"
    base = run_python(built.environment.path, "import sys; print(sys.base_prefix)")
    assert Path(base).parent == kit.home / "python"
    assert Path(base).name.startswith("conda-3.8.18-")
    assert run_python(built.environment.path, "import alpha, ssl, sqlite3; print(alpha.version)") == "1.0"
    # Once it is here, nobody is asked.
    again = make_model("again", pip=["alpha<2"], python=version)
    assert kit.build(again, python_downloads=False).environment.interpreter == built.environment.interpreter


def test_a_python_that_the_channel_does_not_have_is_said(kit: Kit, channels: Channels, make_model: MakeModel) -> None:
    kit.more |= {"python_source": "conda", "python_downloads": True, "conda_mirror": channels.mirrors}
    with pytest.raises(InterpreterNotFound, match=r"conda-forge has no Python 3\.9") as caught:
        kit.lock(make_model(pip=["alpha"], python="3.9"))
    assert "--python-source auto" in (caught.value.hint or "")


def test_a_lock_for_another_machine_is_made_here_and_installed_there_alone(
    kit: Kit, own_channel: Channel, model_of: Of, tmp_path: Path
) -> None:
    arm = "linux-aarch64"
    own_channel.add(
        Package(name="python", version="3.8.20", subdir=arm),
        Package(name="native", build="arm", subdir=arm, depends=("python", "__glibc >=2.28")),
        Package(name="native", build="here"),
    )
    kit.index.add(wheel("beta", "1.0", tag="cp38-cp38-manylinux_2_28_aarch64"))
    model = model_of("native", pip=["alpha", "beta"], more="platforms: [osx-64]\n")
    path, environ = tmp_path / "conda-lock.yml", environ_of(kit)
    done = cli("lock", model, "--platform", arm, "-o", path, environ=environ)
    assert done.returncode == 0, done.stderr
    assert (
        "warning[conda-platform]: conda.yaml says that it is for osx-64; it is locked for linux-aarch64" in done.stderr
    )
    text = path.read_text()
    assert "native-1.0-arm" in text
    assert "cp38-manylinux_2_28_aarch64.whl" in text
    older = cli("lock", model, "--platform", "manylinux_2_17_aarch64", environ=environ)
    assert (older.returncode, "__glibc" in older.stderr) == (4, True), older.stderr
    done = cli("build", model, "--lock", path, environ=environ)
    assert (done.returncode, "the lock is for cp38-manylinux_2_28_aarch64" in done.stderr) == (4, True), done.stderr
    assert not (kit.home / "store" / "v1" / "environments").exists()
