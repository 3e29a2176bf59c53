"""Archives on a web server: once a state, gone on with after a break, with the login of netrc."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import OF_ERAS, FileServer, Run
from test_archives import packed

Serve = Callable[[str], str]
LARGE = os.urandom(5 * 2**20)


@pytest.fixture
def serve(files: FileServer, tmp_path: Path) -> Serve:
    """Puts a model's archive on the server, and gives its address."""

    def put(era: str) -> str:
        folder = tmp_path / f"of {era}"
        folder.mkdir(exist_ok=True)
        model = folder / "model"
        if not model.exists():
            model.mkdir()
            for path in OF_ERAS[era].iterdir():
                if path.is_file():
                    (model / path.name).write_bytes(path.read_bytes())
            (model / "large.bin").write_bytes(LARGE)
        files.files["/models/heart.tar"] = packed(folder / "heart.tar", model).read_bytes()
        return f"{files.url}/models/heart.tar"

    return put


def inspected(run: Run, uri: str, *words: str, **more: str) -> dict[str, object]:
    done = run("inspect", uri, "--json", *words, **more)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["model"]
    assert isinstance(said, dict)
    return said


def test_it_is_fetched_once_and_again_when_it_changes(run: Run, files: FileServer, serve: Serve) -> None:
    uri = serve("middle")
    first = inspected(run, uri)
    assert Path(str(first["path"])).name == "heart"
    assert inspected(run, uri)["path"] == first["path"]
    assert [status for _, status, _ in files.asked] == [200, 304]
    assert inspected(run, uri, "--offline")["path"] == first["path"]
    assert len(files.asked) == 2
    serve("last")
    done = run("inspect", uri, "--json")
    assert "warning[model-changed]" in done.stderr
    assert json.loads(done.stdout)["model"]["path"] != first["path"]


def test_it_is_gone_on_with_where_the_network_broke_off(run: Run, files: FileServer, serve: Serve) -> None:
    uri, files.breaks_after = serve("middle"), 4 * 2**20
    path = Path(str(inspected(run, uri)["path"]))
    assert (path / "large.bin").read_bytes() == LARGE
    (_, status, _), (_, again, rest) = files.asked
    assert (status, again) == (200, 206)
    assert rest < 2 * 2**20


def test_what_changed_meanwhile_is_not_put_behind_the_old_beginning(run: Run, files: FileServer, serve: Serve) -> None:
    uri = serve("middle")
    other = files.files["/models/heart.tar"]
    serve("last")

    class Changing(dict[str, bytes]):
        def get(self, key: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override] # as it is used
            content, self[key] = self[key], other
            return content

    files.files = Changing(files.files)
    files.breaks_after = 4 * 2**20
    assert inspected(run, uri)["mlflow_version"] == "1.30.0"
    assert [status for _, status, _ in files.asked] == [200, 200]


def test_of_those_who_want_it_at_once_one_fetches_it(run: Run, files: FileServer, serve: Serve) -> None:
    uri = serve("middle")
    with ThreadPoolExecutor(4) as pool:
        paths = {str(one["path"]) for one in pool.map(lambda _: inspected(run, uri), range(4))}
    assert len(paths) == 1
    assert sorted(status for _, status, _ in files.asked) == [200, 304, 304, 304]


def test_a_login_is_used_and_stays_nowhere(
    run: Run, files: FileServer, serve: Serve, tmp_path: Path, home: Path
) -> None:
    uri, files.login = serve("middle"), "reader:canary-of-models"
    refused = run("inspect", uri)
    assert (refused.returncode, "error[model-unreachable]" in refused.stderr) == (3, True), refused.stderr
    assert "netrc" in refused.stderr
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login reader password canary-of-models\n")
    netrc.chmod(0o600)
    by_netrc = run("inspect", uri, "-v", NETRC=str(netrc))
    by_url = run("inspect", f"{uri.replace('://', '://reader:canary-of-models@')}?sig=canary-of-query", "-v")
    wrong = run("inspect", uri.replace("://", "://reader:canary-of-nobody@"))
    assert (by_netrc.returncode, by_url.returncode, wrong.returncode) == (0, 0, 3)
    for done in (refused, by_netrc, by_url, wrong):
        assert "canary" not in done.stdout + done.stderr
    assert not [path for path in home.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [("/models/none.tar", "model-not-found", "404"), ("/models/text.tar", "model-unreadable", "cannot be unpacked")],
)
def test_what_is_no_model_is_said(run: Run, files: FileServer, path: str, code: str, words: str) -> None:
    files.files["/models/text.tar"] = b"<html>sign in first</html>"
    done = run("inspect", f"{files.url}{path}")
    assert (done.returncode, f"error[{code}]" in done.stderr) == (3, True), done.stderr
    assert words in done.stderr


def test_a_server_that_is_not_there_is_said_and_what_was_fetched_is_there_offline(
    run: Run, files: FileServer, serve: Serve
) -> None:
    uri = serve("middle")
    missing = run("inspect", uri, "--offline")
    assert (missing.returncode, "is not kept here" in missing.stderr) == (3, True)
    path = inspected(run, uri)["path"]
    files.close()
    gone = run("inspect", uri)
    assert (gone.returncode, "error[model-unreachable]" in gone.stderr) == (3, True), gone.stderr
    assert inspected(run, uri, "--offline")["path"] == path
