"""Indexes: which are asked, and what a real one on this machine is understood to say."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from machine import free_port
from packaging.version import Version

from envbuild.errors import IndexUnreachable, Place
from envbuild.indexes import Indexes, choose
from envbuild.projects import read_projects
from envbuild.requirement import IndexLine
from envbuild.settings import ModelIndexes, Settings

DEFAULT = "https://default.invalid/simple"
PYTORCH = "https://download.pytorch.org/whl/cpu"


def line(url: str, option: str = "extra-index-url") -> IndexLine:
    return IndexLine(option=option, url=url, place=Place("requirements.txt", 3))


def chosen(policy: ModelIndexes, *lines: IndexLine, **more: Any) -> tuple[Indexes, list[str]]:
    indexes, notices = choose(Settings(home=Path("/srv"), model_indexes=policy, **more), lines, DEFAULT)
    assert all(notice.place == Place("requirements.txt", 3) for notice in notices)
    return indexes, [notice.code for notice in notices]


@pytest.mark.parametrize(
    ("policy", "extra"),
    [("known", (PYTORCH,)), ("allow", (PYTORCH, "http://i.invalid/simple")), ("deny", ())],
)
def test_the_policy_decides_on_a_models_indexes_and_what_is_not_used_is_said(
    policy: ModelIndexes, extra: tuple[str, ...]
) -> None:
    indexes, notices = chosen(policy, line(PYTORCH), line("http://i.invalid/simple"))
    assert (indexes.extra, indexes.from_model) == (extra, extra)
    assert notices == ["index-ignored"] * (2 - len(extra))


@pytest.mark.parametrize(
    "url",
    [
        "http://download.pytorch.org/whl/cpu",
        "https://download.pytorch.org.evil.invalid/whl",
        "https://download.pytorch.org@evil.invalid/whl",
        "https://evil.invalid/download.pytorch.org",
    ],
)
def test_only_the_known_host_itself_is_known(url: str) -> None:
    assert chosen("known", line(url)) == (Indexes(), ["index-ignored"])


@pytest.mark.parametrize(
    "url", ["file:///etc", "/etc", "./wheels", "ftp://h.invalid/x", "http://[", "", "git+https://h"]
)
@pytest.mark.parametrize("option", ["index-url", "find-links"])
def test_what_is_no_address_of_the_network_is_never_used(url: str, option: str) -> None:
    assert chosen("allow", line(url, option)) == (Indexes(), ["index-ignored"])


def test_a_models_main_index_is_one_more_place_and_the_deployers_stays_the_main_one() -> None:
    indexes, notices = chosen(
        "allow", line("https://m.invalid/simple", "index-url"), index_url="https://d.invalid/simple"
    )
    assert (indexes.main, indexes.extra, notices) == ("https://d.invalid/simple", ("https://m.invalid/simple",), [])


@pytest.mark.parametrize("url", [DEFAULT, f"{DEFAULT}/", "https://own.invalid/simple/"])
def test_a_model_that_names_what_is_asked_anyway_asks_for_nothing(url: str) -> None:
    own = ("https://own.invalid/simple",)
    indexes, notices = chosen("deny", line(url), extra_index_url=own)
    assert (indexes.urls(), indexes.from_model, notices) == (own, (), [])


def test_extra_indexes_are_asked_before_the_main_one_and_the_models_last() -> None:
    indexes, _ = chosen(
        "allow", line("https://m.invalid/simple"), extra_index_url=("https://a.invalid", "https://b.invalid")
    )
    own = ("https://a.invalid", "https://b.invalid", DEFAULT)
    assert (indexes.chain(DEFAULT), indexes.own(DEFAULT)) == ((*own, "https://m.invalid/simple"), own)
    best, _ = chosen("allow", line("https://m.invalid/simple"), index_strategy="best-match")
    assert best.chain(DEFAULT) == ("https://m.invalid/simple", DEFAULT)


def test_places_of_a_models_count_after_all_and_the_deployers_beside_all() -> None:
    indexes, _ = chosen("allow", line("https://f.invalid/files", "find-links"), find_links=("/wheels",))
    assert (indexes.beside_all(), indexes.after_all()) == (("/wheels",), ("https://f.invalid/files",))
    best = indexes.of_locked_files()
    assert (best.beside_all(), best.after_all()) == (("/wheels", "https://f.invalid/files"), ())


def test_find_links_are_kept_apart() -> None:
    indexes, _ = chosen("allow", line("https://f.invalid/files", "find-links"), find_links=("/wheels",))
    assert (indexes.find_links, indexes.extra) == (("/wheels", "https://f.invalid/files"), ())


def test_a_notice_about_an_index_holds_no_credentials() -> None:
    settings = Settings(home=Path("/srv"))
    _, (notice,) = choose(settings, [line("https://user:canary@i.invalid/simple")], DEFAULT)
    assert "canary" not in str(notice.to_dict())
    assert "i.invalid" in notice.message


def test_what_names_indexes_in_a_key_holds_no_credentials() -> None:
    login = "https://user:canary@{}.invalid/simple".format
    indexes = Indexes(main=login("a"), extra=(login("b"),), find_links=(login("c"),))
    assert indexes.names() == [[f"https://{host}.invalid/simple"] for host in "abc"]
    assert indexes.urls() == (login("a"), login("b"), login("c"))


# A real index


class Index:
    """A server on this machine; ``pages`` maps a path to status, content type and content."""

    def __init__(self) -> None:
        index = self
        self.pages: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.login: str | None = None

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization")
                index.asked.append((self.path, authorization, self.headers.get("Accept")))
                status, kind, content = index.pages.get(self.path, (404, "text/plain", b""))
                if (
                    index.login is not None
                    and authorization != f"Basic {base64.b64encode(index.login.encode()).decode()}"
                ):
                    status, kind, content = 401, "text/plain", b"who are you?"
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                if status == 301:
                    self.send_header("Location", content.decode())
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def json(self, name: str, *files: tuple[str, str | None]) -> None:
        listed = [{"filename": file, "upload-time": time} if time else {"filename": file} for file, time in files]
        content = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": listed}).encode()
        self.pages[f"/simple/{name}/"] = (200, "application/vnd.pypi.simple.v1+json", content)

    def html(self, name: str, body: str) -> None:
        self.pages[f"/simple/{name}/"] = (200, "text/html; charset=utf-8", f"<html><body>{body}</body></html>".encode())


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    served = Index()
    yield served
    served.server.shutdown()
    served.server.server_close()


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_the_json_form_gives_each_version_and_when_its_first_file_came(index: Index) -> None:
    index.json(
        "own-it",
        ("own_it-1.0-py3-none-any.whl", "2021-01-02T03:04:05.678Z"),
        ("own_it-1.0.tar.gz", "2021-01-01T00:00:00Z"),
        ("own_it-1.1.tar.gz", None),
        ("own_it-1.0-py2-none-any.whl", "2022-01-01T00:00:00Z"),
        ("own_it-1.0.exe", "2020-01-01T00:00:00Z"),
        ("nonsense", "2020-01-01T00:00:00Z"),
    )
    found = read_projects(["Own_It", "missing"], Indexes(main=index.url), DEFAULT)
    assert list(found) == ["Own_It"]
    assert found["Own_It"].releases == {Version("1.0"): instant("2021-01-01"), Version("1.1"): None}
    assert {path for path, _, _ in index.asked} == {"/simple/own-it/", "/simple/missing/"}
    assert all("simple.v1+json" in (accept or "") for _, _, accept in index.asked)


def test_the_html_form_is_read_with_its_upload_times(index: Index) -> None:
    index.html(
        "own",
        '<a href="../../f/own-1.0-py3-none-any.whl#sha256=aa" data-upload-time="2021-01-02T00:00:00Z">own</a>'
        '<a href="https://f.invalid/own-1.1%2Blocal.tar.gz">own</a><a>no link</a><a href="">x</a><p>',
    )
    found = read_projects(["own"], Indexes(main=index.url), DEFAULT)
    assert found["own"].releases == {Version("1.0"): instant("2021-01-02"), Version("1.1+local"): None}


def test_without_an_index_of_the_deployers_the_default_is_asked_and_nobody_for_nothing(index: Index) -> None:
    index.json("own", ("own-1.0.tar.gz", None))
    assert list(read_projects(["own"], Indexes(), f"{index.url}/")) == ["own"]
    assert read_projects([], Indexes(main="http://127.0.0.1:1/simple"), DEFAULT) == {}


def test_many_projects_are_asked_side_by_side_and_each_once(index: Index) -> None:
    names = [f"own{number}" for number in range(30)]
    for name in names:
        index.json(name, (f"{name}-1.0.tar.gz", "2021-01-01T00:00:00Z"))
    assert sorted(read_projects(names * 2, Indexes(main=index.url), DEFAULT)) == sorted(names)
    assert len(index.asked) == 30


def test_a_login_in_the_url_reaches_the_server(index: Index) -> None:
    index.json("own", ("own-1.0.tar.gz", None))
    index.login = "user:can@ary"
    url = index.url.replace("http://", "http://user:can%40ary@")
    assert list(read_projects(["own"], Indexes(main=url), DEFAULT)) == ["own"]


def test_a_login_in_netrc_reaches_the_server(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.json("own", ("own-1.0.tar.gz", None))
    index.login = "user:canary"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password canary\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    indexes = Indexes(main=index.url)
    assert list(read_projects(["own"], indexes, DEFAULT)) == ["own"]
    assert "canary" not in str(indexes)
    given = "http://me:mine@127.0.0.1/simple"
    assert Indexes(main=given).logged_in().main == given


@pytest.mark.parametrize("content", [b"machine", b"\xff\xfe\x00", None])
def test_a_netrc_that_cannot_be_read_is_as_none(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    index.json("own", ("own-1.0.tar.gz", None))
    if content is not None:
        (tmp_path / "netrc").write_bytes(content)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert list(read_projects(["own"], Indexes(main=index.url), DEFAULT)) == ["own"]
    assert index.asked[0][1] is None


def refusal(index: Index, url: str | None = None) -> IndexUnreachable:
    with pytest.raises(IndexUnreachable) as caught:
        read_projects(["own"], Indexes(main=url or index.url), DEFAULT)
    assert caught.value.code == "index-unreachable"
    assert "canary" not in str(caught.value.to_dict())
    return caught.value


def test_an_index_that_refuses_us_is_said_without_the_password(index: Index) -> None:
    index.login = "user:right"
    error = refusal(index, index.url.replace("http://", "http://user:canary@"))
    assert "401" in error.message
    assert f"http://127.0.0.1:{index.port}/simple" in error.message
    assert error.hint is not None
    assert "netrc" in error.hint


def test_an_index_that_is_broken_is_said(index: Index) -> None:
    index.pages["/simple/own/"] = (503, "text/plain", b"")
    assert "503" in refusal(index).message


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"files": 3}', b'{"files": [3]}', b"\xff"])
def test_an_answer_that_is_no_index_page_is_said(index: Index, content: bytes) -> None:
    index.pages["/simple/own/"] = (200, "application/vnd.pypi.simple.v1+json", content)
    assert "JSON" in refusal(index).message


def test_an_index_that_nobody_answers_for_is_said(index: Index) -> None:
    port = free_port()
    error = refusal(index, f"http://user:canary@127.0.0.1:{port}/simple")
    assert f"127.0.0.1:{port}" in error.message


def test_a_redirect_to_another_host_takes_no_login_along(index: Index) -> None:
    other = Index()
    try:
        other.json("own", ("own-1.0.tar.gz", None))
        index.pages["/simple/own/"] = (301, "text/plain", f"http://localhost:{other.port}/simple/own/".encode())
        index.login = "user:canary"
        url = index.url.replace("http://", "http://user:canary@")
        assert list(read_projects(["own"], Indexes(main=url), DEFAULT)) == ["own"]
        assert [authorization for _, authorization, _ in other.asked] == [None]
    finally:
        other.server.shutdown()
        other.server.server_close()
