"""The Python in a bundle: from a machine that has it to one that has none."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import cli, cli_environ
from local_index import LocalIndex
from made import HERE, answer_of, code_of, offline

from envbuild import interpreters
from envbuild.bundles import python
from envbuild.errors import BundleInvalid
from envbuild.images.portable import prefix_of
from envbuild.interpreters import Interpreter
from envbuild.settings import Settings

MakeModel = Callable[..., Path]
_LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "site-packages", "__pycache__", "idlelib", "share", "*.a", "config-*"
)
LOADER = """
import sys

class Where:
    def predict(self, data):
        return [sys.base_prefix, "%d.%d.%d" % sys.version_info[:3]]

def _load_pyfunc(path):
    return Where()
"""


@pytest.fixture(scope="session")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of this machine where and as uv puts one that it manages: it finds its library from where it is."""
    found = interpreters.find(
        HERE, Settings.from_environ({}, home=tmp_path_factory.mktemp("h"), python_downloads=False)
    )
    place = tmp_path_factory.mktemp("python") / f"cpython-{found.version}-linux-x86_64-gnu"
    shutil.copytree(prefix_of(found), place, symlinks=True, ignore=_LEFT_OUT)
    library = place / "lib" / f"python{HERE}"
    (library / "EXTERNALLY-MANAGED").write_text(
        "[externally-managed]\nError=This Python installation is managed by uv and should not be modified.\n"
    )
    # As uv does, it says its place where builds look for it.
    for path in library.glob("_sysconfigdata*.py"):
        path.write_text(path.read_text().replace(str(prefix_of(found)), str(place)))
    return place / "bin" / f"python{HERE}"


@pytest.mark.slow
def test_a_python_that_runs_anywhere_goes_along_and_is_the_one_that_is_used(
    managed: Path, make_model: MakeModel, local_index: LocalIndex, home: Path, tmp_path: Path
) -> None:
    model, environ = make_model(python=HERE, loader=LOADER), cli_environ(home, local_index.url)
    (tmp_path / "in.json").write_text('{"inputs": [1]}')
    bundle, again = tmp_path / "with.bundle", tmp_path / "again.bundle"
    found = interpreters.probe(managed)
    assert found is not None
    # As if it were the one that is found on this machine.
    home.mkdir()
    interpreters.keep(interpreters.kept_at(home, HERE), found)
    for target in (bundle, again):
        done = cli("bundle", "export", model, "-o", target, "--with-python", environ=environ)
        assert done.returncode == 0, done.stderr
    assert bundle.read_bytes() == again.read_bytes()
    assert str(managed.parent).encode() not in bundle.read_bytes()
    empty = tmp_path / "empty"
    where, version = answer_of(offline(empty, "predict", bundle, tmp_path / "in.json"))["predictions"]
    (place,) = (empty / "python").glob("bundled-*")
    assert (where, version) == (str(place), managed.parent.parent.name.split("-")[1])
    (data,) = place.glob("lib/python*/_sysconfigdata*.py")
    assert str(place) in data.read_text()


def test_a_python_that_was_built_for_its_place_is_refused(
    make_model: MakeModel, local_index: LocalIndex, home: Path, tmp_path: Path
) -> None:
    environ = cli_environ(home, local_index.url)
    words = ("bundle", "export", make_model(python=HERE), "-o", tmp_path / "b", "--with-python")
    done = cli(*words, environ=environ)
    assert code_of(done) == "bundle-incomplete"
    assert "uv python install" in done.stderr
    done = cli(*words, "--platform", "linux/arm64", environ=environ)
    assert code_of(done) == "bundle-incomplete"


def test_no_installation_is_a_directory_without_uv_s_word(tmp_path: Path) -> None:
    program = Interpreter(executable=str(tmp_path / "bin" / "python3.8"), version="3.8.1", abi="", platform="")
    with pytest.raises(Exception, match="was built for the place"):
        python.prefix_of(program)


def archive_of(place: Path, *members: tuple[str, bytes, str]) -> Path:
    with tarfile.open(place / "hostile.tar", "w") as archive:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = 1 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"x"))
    return place / "hostile.tar"


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("../out", FILE, "")],
        [("/out", FILE, "")],
        [("lib/../../out", FILE, "")],
        [("out", LINK, "/etc")],
        [("lib/out", LINK, "../../etc")],
        [("out", LINK, "lib/../..")],
        [("lib", LINK, "bin"), ("lib/out", LINK, "../..")],
        [("out", HARD, "bin/python3")],
        [("out", tarfile.FIFOTYPE, "")],
        [("out", FILE, ""), ("out", FILE, "")],
        [("out", LINK, "bin"), ("out", FILE, "")],
        [("out", LINK, "bin"), ("out", LINK, "lib")],
        [("bin/out", LINK, "there"), ("bin/out/more", FILE, "")],
    ],
    ids=lambda members: re.sub(r"\W+", " ", " ".join(f"{name} {link}" for name, _, link in members)),
)
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    place = tmp_path / "top" / "place"
    (place / "bin").mkdir(parents=True)
    with pytest.raises(BundleInvalid):
        python.unpack(archive_of(tmp_path, *members), place, place)
    assert sorted(path.name for path in (tmp_path / "top").iterdir()) == ["place"]


def test_links_inside_are_as_they_were(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "python3.8").write_bytes(b"program")
    (source / "bin" / "python3.8").chmod(0o755)
    (source / "bin" / "python").symlink_to("python3.8")
    (source / "lib64").symlink_to("bin")
    python.pack(source, tmp_path / "a.tar")
    python.unpack(tmp_path / "a.tar", place, place)
    assert (place / "lib64" / "python").read_bytes() == b"program"
    assert (place / "bin" / "python3.8").stat().st_mode & 0o777 == 0o755
