"""The index as of a date: what it hides, what it passes on, and what it keeps to itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from kit import AS_NOBODY
from local_index import LocalIndex
from tiny import File, sdist, wheel
from waiting import eventually

from envbuild.dated_index.index import DatedIndex
from envbuild.downloads import Downloads
from envbuild.errors import DownloadFailed, HashMismatch, IndexUnreachable
from envbuild.indexes import Indexes
from envbuild.projects import files_in_html

CUT = datetime(2021, 6, 16, 12, tzinfo=timezone.utc)
BEFORE, AT, AFTER = "2021-06-16T11:59:59Z", "2021-06-16T12:00:00Z", "2022-01-01T00:00:00Z"
OLD = wheel("own", "1.0", uploaded=BEFORE)
ON_THE_CUT = wheel("own", "2.0", uploaded=AT)
YOUNG = wheel("own", "3.0", uploaded=AFTER)
JSON = "application/vnd.pypi.simple.v1+json"

Dated = Callable[..., DatedIndex]


@pytest.fixture
def dated(local_index: LocalIndex, home: Path) -> Iterator[Dated]:
    """Opens dated indexes of the test's own index."""
    with contextlib.ExitStack() as stack:

        def opened(**more: Any) -> DatedIndex:
            given = {"indexes": Indexes(main=local_index.url), "home": home, **more}
            return stack.enter_context(DatedIndex(given.pop("indexes"), "http://127.0.0.1:1/none", **given))

        yield opened


def get(url: str, accept: str = "text/html") -> tuple[int, str, bytes]:
    """What a pip gets: it follows no proxy to this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def names(index: DatedIndex, project: str = "own") -> list[str]:
    """The versions of what a pip sees, in the page's order."""
    status, _, content = get(f"{index.url}/{project}/")
    return [] if status == 404 else [str(file.version) for file in files_in_html(content.decode(), index.url)]


def address(index: DatedIndex, name: str) -> str:
    _, _, content = get(f"{index.url}/own/")
    return next(file.url for file in files_in_html(content.decode(), f"{index.url}/own/") if file.name == name)


# What is hidden


def test_what_was_uploaded_at_the_cut_or_later_is_hidden(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD, ON_THE_CUT, YOUNG)
    assert names(dated(cut=CUT)) == ["1.0"]
    assert names(dated()) == ["1.0", "2.0", "3.0"]


def test_a_project_may_have_a_cut_of_its_own(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD, YOUNG, wheel("other", "1.0", uploaded=AFTER))
    index = dated(cut=CUT, cuts={"Own": datetime(2023, 1, 1, tzinfo=timezone.utc)})
    assert (names(index), names(index, "other")) == (["1.0", "3.0"], [])


def test_with_a_cut_what_has_no_upload_time_is_hidden_but_for_find_links(
    local_index: LocalIndex, dated: Dated, tmp_path: Path
) -> None:
    local_index.add(OLD)
    local_index.upload_times = False
    assert (names(dated(cut=CUT)), names(dated())) == ([], ["1.0"])
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / YOUNG.name).write_bytes(YOUNG.content)
    beside = Indexes(main=local_index.url, find_links=(str(tmp_path / "wheels"),))
    assert names(dated(indexes=beside, cut=CUT)) == ["3.0"]


def test_an_index_that_has_the_name_hides_all_later_ones(
    local_index: LocalIndex, dated: Dated, make_index: Callable[[], LocalIndex], tmp_path: Path
) -> None:
    first, theirs = make_index().add(OLD), make_index().add(wheel("other", "9.0"), wheel("only", "1.0"))
    local_index.add(YOUNG, wheel("other", "1.0"))
    known = Indexes(main=local_index.url, extra=(first.url, theirs.url), from_model=(theirs.url,))
    index = dated(indexes=known)
    assert (names(index), names(index, "other"), names(index, "only")) == (["1.0"], ["1.0"], ["1.0"])
    best = dated(indexes=known.of_locked_files())
    assert (names(best), names(best, "other")) == (["1.0", "3.0"], ["9.0", "1.0"])
    # An index that has but the name has it, as uv takes it; offline it is still known who has it.
    first.files[0] = wheel("own", "1.0")
    page, first.page = first.page, lambda project, as_json: ("text/html", b"")  # type: ignore[method-assign]
    assert names(dated(indexes=known)) == []
    first.page = page  # type: ignore[method-assign]
    assert names(dated(indexes=known)) == ["1.0"]
    assert [names(dated(indexes=known, offline=True), name) for name in ("own", "other")] == [["1.0"], ["1.0"]]


def test_what_was_taken_back_is_served_to_who_pins_it_alone(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD, YOUNG)
    local_index.said[YOUNG.name] = {"yanked": "broken"}
    assert names(dated()) == ["1.0", "3.0"]
    assert names(dated(yanked=())) == ["1.0"]
    assert names(dated(yanked=(("own", "3"), ("own", "4")))) == ["1.0", "3.0"]


# What is passed on


def test_old_pips_get_html_and_those_that_ask_get_json(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD)
    digests = {"sha256": "ab" * 32}
    local_index.said[OLD.name] = {"requires-python": '>=3.6, <"4"', "yanked": "a & b", "core-metadata": digests}
    index = dated(cut=CUT)
    _, kind, content = get(f"{index.url}/own/")
    assert kind.startswith("text/html")
    assert b'data-requires-python="&gt;=3.6, &lt;&quot;4&quot;"' in content
    assert b'data-yanked="a &amp; b"' in content
    assert b'data-core-metadata="sha256=' + b"ab" * 32 in content
    (found,) = files_in_html(content.decode(), f"{index.url}/own/")
    assert (found.name, found.hashes, found.yanked, found.metadata) == (
        OLD.name,
        {"sha256": OLD.sha256},
        "a & b",
        digests,
    )
    _, kind, content = get(f"{index.url}/own/", f"{JSON}, text/html;q=0.1")
    (listed,) = json.loads(content)["files"]
    assert kind == JSON
    assert urljoin(f"{index.url}/own/", listed.pop("url")) == found.url
    assert listed == {
        "filename": OLD.name,
        "hashes": {"sha256": OLD.sha256},
        "requires-python": '>=3.6, <"4"',
        "yanked": "a & b",
        "core-metadata": digests,
    }


def test_what_is_served_is_told_to_us_as_well(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD, YOUNG)
    local_index.said[OLD.name] = {"yanked": True, "requires-python": ">=3.6"}
    (file,) = dated(cut=CUT).files("OWN")
    said = (file.name, str(file.version), file.sha256, file.size, file.yanked, file.requires_python)
    assert said == (OLD.name, "1.0", OLD.sha256, len(OLD.content), "", ">=3.6")
    assert file.uploaded == datetime(2021, 6, 16, 11, 59, 59, tzinfo=timezone.utc)
    assert file.url == f"{local_index.root}/files/{OLD.name}"


def test_all_places_count_as_one_index_where_the_best_of_all_is_wanted(
    make_index: Callable[[], LocalIndex], local_index: LocalIndex, dated: Dated, tmp_path: Path
) -> None:
    extra = make_index().add(wheel("own", "4.0"), OLD)
    source = sdist("own", "5.0", {})
    (tmp_path / source.name).write_bytes(source.content)
    (tmp_path / "own-it-6.0.zip").write_bytes(b"of another project")
    (tmp_path / "files.html").write_text('<a href="own-7.0.tar.gz#md5=00">own</a><a href="notes.txt">notes</a>')
    links = (str(tmp_path), (tmp_path / "files.html").as_uri(), f"{extra.root}/files/own-8.0.tar.gz")
    local_index.add(OLD)
    index = dated(indexes=Indexes(main=local_index.url, extra=(extra.url,), find_links=links, strategy="best-match"))
    assert names(index) == ["4.0", "1.0", "5.0", "7.0", "8.0"]
    assert names(index, "own-it") == ["6.0"]
    assert index.files("own")[1].url.startswith(extra.root)
    assert {file.name: file.sha256 for file in index.files("own")}[source.name] == source.sha256


def test_nowhere_but_in_find_links_where_that_is_asked(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD)
    index = dated(indexes=Indexes(main=local_index.url, find_links=(f"{local_index.url}/own",), alone=True))
    assert names(index) == ["1.0"]
    assert local_index.requests == [f"/{local_index.url.split('/')[3]}/simple/own"]


def test_the_default_is_asked_where_no_main_index_is_given(local_index: LocalIndex, home: Path) -> None:
    local_index.add(OLD)
    with DatedIndex(Indexes(), local_index.url, home=home) as index:
        assert names(index) == ["1.0"]


def test_an_index_on_the_disk_is_read(dated: Dated, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / OLD.name).write_bytes(OLD.content)
    (tmp_path / "own" / "index.html").write_text(f'<a href="{OLD.name}#sha256={OLD.sha256}">own</a>')
    index = dated(indexes=Indexes(main=tmp_path.as_uri()))
    assert get(address(index, OLD.name))[2] == OLD.content


def test_many_projects_are_asked_side_by_side(local_index: LocalIndex, dated: Dated) -> None:
    wanted = [f"own{number}" for number in range(12)]
    for name in wanted:
        local_index.add(wheel(name, "1.0"))
    index = dated()
    local_index.open.clear()
    reading = threading.Thread(target=index.read, args=(wanted,))
    reading.start()
    eventually(lambda: len(local_index.requests) == 8, "eight are asked for before one is answered")
    local_index.open.set()
    reading.join()
    assert [names(index, name) for name in wanted] == [["1.0"]] * 12
    assert len(local_index.requests) == 12


# Files


def test_files_go_through_us_and_are_kept_by_their_sha256(local_index: LocalIndex, dated: Dated, home: Path) -> None:
    local_index.add(OLD)
    index = dated()
    url = address(index, OLD.name)
    assert [get(url)[2], get(url)[2]] == [OLD.content] * 2
    assert [path.name for path in (home / "files").iterdir()] == [OLD.sha256]
    assert index.fetch(index.files("own")[0]) == home / "files" / OLD.sha256
    assert get(address(dated(), OLD.name))[2] == OLD.content
    assert sum(OLD.name in path for path in local_index.requests) == 1


def test_many_who_want_a_file_at_once_make_us_fetch_it_once(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD)
    index = dated()
    url = address(index, OLD.name)
    local_index.open.clear()
    contents: list[bytes] = []
    askers = [threading.Thread(target=lambda: contents.append(get(url)[2])) for _ in range(6)]
    for asker in askers:
        asker.start()
    assert local_index.waiting.wait(60)
    local_index.open.set()
    for asker in askers:
        asker.join()
    assert contents == [OLD.content] * 6
    assert sum(OLD.name in path for path in local_index.requests) == 1


def test_a_file_that_is_not_the_listed_one_is_neither_passed_on_nor_kept(
    local_index: LocalIndex, dated: Dated, home: Path
) -> None:
    local_index.add(OLD).served[OLD.name] = YOUNG.content
    index = dated()
    status, _, said = get(address(index, OLD.name))
    assert status == 502
    assert OLD.sha256 in said.decode()
    assert list((home / "files").iterdir()) == []
    assert [f"{refusal}\n" for refusal in index.refusals] == [said.decode()]
    with pytest.raises(HashMismatch, match=YOUNG.sha256):
        index.fetch(index.files("own")[0])


def test_what_has_no_sha256_is_checked_by_what_it_has_and_then_known_by_its_own(
    local_index: LocalIndex, dated: Dated
) -> None:
    local_index.add(OLD, YOUNG)
    local_index.said[OLD.name] = {"hashes": {"md5": hashlib.md5(OLD.content).hexdigest()}}
    local_index.said[YOUNG.name] = {"hashes": {"md5": hashlib.md5(b"").hexdigest()}}
    index = dated()
    good, bad = index.files("own")
    assert (good.sha256, [index.fetch(good).name, index.fetch(good).name]) == (None, [OLD.sha256] * 2)
    assert sum(OLD.name in path for path in local_index.requests) == 1
    with pytest.raises(HashMismatch, match="md5"):
        index.fetch(bad)


def test_the_metadata_beside_a_file_is_passed_on_and_checked(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD, YOUNG)
    for file in (OLD, YOUNG):
        stated = hashlib.sha256(f"of {file.name}".encode()).hexdigest()
        local_index.said[file.name] = {"core-metadata": {"sha256": stated}}
    local_index.served[f"{OLD.name}.metadata"] = f"of {OLD.name}".encode()
    local_index.served[f"{YOUNG.name}.metadata"] = b"another's"
    index = dated()
    assert get(f"{address(index, OLD.name)}.metadata")[2].decode() == f"of {OLD.name}"
    assert get(f"{address(index, YOUNG.name)}.metadata")[0] == 502


def test_two_processes_that_fetch_the_same_file_leave_it_whole(local_index: LocalIndex, home: Path) -> None:
    file = File("own-1.0.zip", "own", os.urandom(3_000_000))
    local_index.add(file)
    code = (
        "import sys; from pathlib import Path; from envbuild.downloads import Downloads; from envbuild.indexes import "
        "Indexes; print(Downloads(Indexes(), Path(sys.argv[1])).fetch(sys.argv[2], {'sha256': sys.argv[3]}).stat().st_size)"
    )
    argv = [sys.executable, "-c", code, str(home), f"{local_index.root}/files/{file.name}", file.sha256]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    local_index.open.clear()
    both = [subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    eventually(lambda: len(local_index.requests) == 2, "both ask")
    local_index.open.set()
    assert [child.communicate(timeout=60)[0].strip() for child in both] == ["3000000"] * 2
    (kept,) = (home / "files").iterdir()
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == file.sha256


# Offline


def test_offline_what_was_asked_for_before_is_served(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD, YOUNG, wheel("other", "1.0"))
    local_index.said[YOUNG.name] = {"hashes": {}}
    index = dated()
    for name in (OLD.name, YOUNG.name):
        get(address(index, name))
    assert names(index, "missing") == []
    local_index.status = 503
    again = dated(offline=True, cut=CUT)
    assert (names(again), names(again, "missing")) == (["1.0"], [])
    assert get(address(again, OLD.name))[2] == OLD.content
    assert again.refusals == ()
    assert get(address(dated(offline=True), YOUNG.name))[2] == YOUNG.content
    status, _, said = get(f"{again.url}/other/")
    assert (status, "not kept" in said.decode(), len(again.refusals)) == (502, True, 1)


def test_offline_a_file_that_is_not_kept_is_said(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD)
    names(dated())
    asked = len(local_index.requests)
    again = dated(offline=True)
    with pytest.raises(DownloadFailed, match=f"{OLD.name} is not kept") as caught:
        again.fetch(again.files("own")[0])
    assert "--offline" in (caught.value.hint or "")
    assert len(local_index.requests) == asked


# Who may ask, and what they may know


def test_credentials_reach_upstream_and_nobody_else(local_index: LocalIndex, dated: Dated, home: Path) -> None:
    local_index.add(OLD).login = ("user", "canary")
    index = dated(indexes=Indexes(main=local_index.with_login("user", "canary")))
    pages = [get(f"{index.url}/own/")[2], get(f"{index.url}/own/", JSON)[2]]
    assert get(address(index, OLD.name))[2] == OLD.content
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert not any(b"canary" in content for content in (*pages, *kept, repr(index.files("own")).encode()))


@pytest.mark.parametrize("status", [None, 403, 500])
def test_a_refusal_of_upstream_is_said_without_secrets(
    local_index: LocalIndex, dated: Dated, status: int | None
) -> None:
    local_index.add(OLD).login, local_index.status = ("user", "right"), status
    index = dated(indexes=Indexes(main=local_index.with_login("user", "right" if status else "canary")))
    code, _, said = get(f"{index.url}/own/")
    assert (code, len(index.refusals)) == (502, 1)
    assert f"answers {status or 401} for own" in index.refusals[0]
    assert index.refusals[0] in said.decode()
    assert "canary" not in said.decode()
    with pytest.raises(IndexUnreachable):
        index.files("own")
    assert len(index.refusals) == 1


def test_pytorchs_index_refuses_what_it_does_not_have(
    local_index: LocalIndex, dated: Dated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuild.dated_index.index.PYTORCH_HOST", "127.0.0.1")
    local_index.add(OLD).status = 403
    index = dated()
    assert get(f"{index.url}/own/")[0] == 404
    assert index.refusals == ()


@pytest.mark.parametrize(
    ("url", "is_let_in"),
    [
        ("https://index.example/files/own.whl", True),
        ("http://index.example/files/own.whl", False),
        ("https://index.example:8443/files/own.whl", False),
        ("https://other.example/files/own.whl", False),
    ],
)
def test_a_login_goes_with_files_of_its_own_index_alone(home: Path, url: str, *, is_let_in: bool) -> None:
    indexes = Indexes(main="https://user:canary@index.example/simple")
    with Downloads(indexes, home) as downloads:
        assert ("user:canary@" in downloads._with_login(url)) == is_let_in


def test_an_index_that_nobody_answers_for_is_said(dated: Dated) -> None:
    index = dated(indexes=Indexes(main="http://user:canary@127.0.0.1:1/simple"))
    assert get(f"{index.url}/own/")[0] == 502
    assert "http://127.0.0.1:1/simple does not answer" in index.refusals[0]
    assert "canary" not in index.refusals[0]


def test_a_place_with_nothing_in_it_is_said(local_index: LocalIndex, dated: Dated, tmp_path: Path) -> None:
    local_index.add(OLD)
    index = dated(indexes=Indexes(main=local_index.url, find_links=(str(tmp_path / "none"),)))
    assert get(f"{index.url}/own/")[0] == 502
    assert "there is nothing at" in index.refusals[0]


@pytest.mark.parametrize(
    "said",
    [
        {"url": "file:///etc/passwd"},
        {"filename": "../own-1.0.tar.gz"},
        {"filename": ".own-1.0.tar.gz"},
        {"filename": "own/own-1.0.tar.gz"},
        {"filename": "own\\own-1.0.tar.gz"},
        {"url": "http://["},
        {"url": ""},
    ],
)
def test_an_index_leads_nobody_to_our_own_disk(local_index: LocalIndex, dated: Dated, said: Mapping[str, str]) -> None:
    local_index.add(OLD, YOUNG).said[OLD.name] = dict(said)
    if said.get("url") == "":
        # The page itself is no file.
        local_index.said[OLD.name] = {"filename": "", **said}
    assert names(dated()) == ["3.0"]


def test_who_does_not_know_the_word_gets_nothing(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD)
    index = dated()
    url, word = index.url, index.url.split("/")[3]
    found = get(f"{url}/own/")[2].decode()
    key = found.split(f"/{word}/files/")[1].split("/")[0]
    for path in ("", "/", "/simple/own/", "/x/simple/own/", f"/x/files/{key}/{OLD.name}", f"/{word[:-1]}/simple/own/"):
        assert get(url.partition("/" + word)[0] + path)[0] == 404
    for path in (f"/{word}/", f"/{word}/files/{key}/other.whl", f"/{word}/files/{'0' * 32}/{OLD.name}", f"/{word}/x/y"):
        assert get(url.partition("/" + word)[0] + path)[0] == 404
    assert len({dated().url.split("/")[3] for _ in range(3)}) == 3


def test_another_user_gets_nothing_although_the_word_is_known(local_index: LocalIndex, dated: Dated) -> None:
    local_index.add(OLD)
    index = dated()
    code = "import sys, urllib.request as u; print(u.build_opener(u.ProxyHandler({})).open(sys.argv[1]).status)"
    argv = [sys.executable, "-I", "-c", code, f"{index.url}/own/"]
    ours = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ours.stdout == "200\n", ours.stderr
    theirs = subprocess.run([*AS_NOBODY, *argv], capture_output=True, text=True, check=False)
    assert (theirs.returncode, theirs.stdout) == (1, "")
    assert "RemoteDisconnected" in theirs.stderr or "ConnectionResetError" in theirs.stderr


def test_it_ends_when_it_is_left_and_says_nothing(
    local_index: LocalIndex, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    local_index.add(OLD)
    before = threading.active_count()
    with DatedIndex(Indexes(main=local_index.url), "", home=home) as index:
        port = int(index.url.split(":")[2].split("/")[0])
        waiting = socket.create_connection(("127.0.0.1", port))
        get(f"{index.url}/own/")
        get(f"{index.url}/nothing/")
    assert waiting.recv(1) == b""
    waiting.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    eventually(lambda: threading.active_count() <= before, "its threads end")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(RuntimeError):
        print(index.url)
