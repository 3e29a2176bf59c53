"""Curated environments by name and version: in a folder, and at a URL of a real server."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from kit import REPO

from envbuild import document
from envbuild.document import Node
from envbuild.errors import (
    EnvbuildError,
    EnvironmentUnknown,
    EnvironmentUnreachable,
    OverrideInvalid,
    StoreUntrusted,
    UsageError,
)
from envbuild.override.curated import find, newest
from envbuild.settings import Settings

CANARY = "canary-77e0"


def text_of(name: str, version: str, more: str = "") -> str:
    return f"name: {name}\nversion: '{version}'\npython: '3.10'\nrequirements: [scikit-learn]\n{more}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two environments, one of them in several versions."""
    top = tmp_path / "environments"
    for name, versions in (("sklearn", ("1.9", "1.10", "2.0rc1")), ("fastai-lts", ("2024.1",))):
        (top / name).mkdir(parents=True)
        for version in versions:
            (top / name / f"{version}.yaml").write_text(text_of(name, version))
    return top


@pytest.fixture
def settings(home: Path, folder: Path) -> Settings:
    return Settings.from_environ({}, home=home, environments=str(folder))


def refused(kind: type[EnvbuildError], wanted: str, settings: Settings, *words: str) -> EnvbuildError:
    with pytest.raises(kind) as caught:
        find(wanted, settings)
    error = caught.value
    assert type(error) is kind
    assert CANARY not in f"{error} {error.hint} {error.details}"
    for word in words:
        assert word in f"{error.message}\n{error.hint}"
    return error


# By path


@pytest.mark.parametrize("wanted", ["environments/sklearn/1.9.yaml", "own.yaml", "own.yml", "./own"])
def test_a_path_is_read_whatever_the_setting_says(
    tmp_path: Path, home: Path, folder: Path, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own.yaml", "own.yml", "own"):
        (tmp_path / name).write_text(text_of("mine", "7"))
    found = find(wanted, Settings.from_environ({}, home=home))
    assert found.source == str(tmp_path / wanted)
    assert found.name in ("sklearn", "mine")


def test_a_path_where_nothing_is_and_an_address_are_said(settings: Settings, tmp_path: Path) -> None:
    refused(OverrideInvalid, str(tmp_path / "none.yaml"), settings, "No such file")
    refused(UsageError, f"https://u:{CANARY}@h.example/a.yaml", settings, "an address", "ENVBUILD_ENVIRONMENTS")


# By name


@pytest.mark.parametrize(
    ("wanted", "version"),
    [("sklearn:1.9", "1.9"), ("sklearn:2.0rc1", "2.0rc1"), ("sklearn", "1.10"), ("fastai-lts", "2024.1")],
)
def test_a_name_is_its_newest_version_and_a_version_is_that_one(
    settings: Settings, folder: Path, wanted: str, version: str
) -> None:
    found = find(wanted, settings)
    assert (found.version, found.source) == (version, str(folder / wanted.partition(":")[0] / f"{version}.yaml"))


def test_versions_are_in_the_order_of_pep_440_then_of_their_text_and_pre_releases_come_last() -> None:
    given = ["spring", "1.10", "2.0rc1", "1.9", "2024.1", "2.0.dev1", "autumn", "1!0.1"]
    assert newest(given) == ["1!0.1", "2024.1", "1.10", "1.9", "spring", "autumn", "2.0rc1", "2.0.dev1"]
    assert newest(reversed(given)) == newest(given)


def test_a_pre_release_is_the_newest_where_there_is_nothing_else(settings: Settings, folder: Path) -> None:
    for version in ("1.9", "1.10"):
        (folder / "sklearn" / f"{version}.yaml").unlink()
    assert find("sklearn", settings).version == "2.0rc1"


def test_other_files_beside_the_versions_are_no_versions(settings: Settings, folder: Path) -> None:
    (folder / "sklearn" / "versions.yaml").write_text("- '1.9'\n")
    (folder / "sklearn" / "99.yml").write_text("")
    (folder / "sklearn" / "README.md").write_text("")
    (folder / "sklearn" / "99.yaml").mkdir()
    (folder / "README.md").write_text("")
    assert find("sklearn", settings).version == "1.10"
    hint = str(refused(EnvironmentUnknown, "sklearn:3", settings).hint)
    assert hint == "there are: 1.10, 1.9, 2.0rc1"
    assert "README" not in str(refused(EnvironmentUnknown, "none", settings).hint)


def test_an_unknown_name_lists_what_is_there_and_the_near_one(settings: Settings) -> None:
    error = refused(EnvironmentUnknown, "sklern", settings, "is sklearn meant?", "there are: fastai-lts, sklearn")
    assert (error.code, error.exit_code) == ("environment-unknown", 2)


def test_an_unknown_version_lists_the_versions_the_newest_first(settings: Settings) -> None:
    refused(EnvironmentUnknown, "sklearn:3", settings, "no version 3", "there are: 1.10, 1.9, 2.0rc1")


def test_a_folder_without_environments_says_so(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(EnvironmentUnknown, "sklearn", settings.having(environments=str(tmp_path / "empty")), "there are none")


def test_many_environments_are_not_all_listed(settings: Settings, folder: Path) -> None:
    for number in range(100, 140):
        (folder / f"env{number}").mkdir()
    hint = str(refused(EnvironmentUnknown, "none", settings).hint)
    assert "env100" in hint
    assert hint.endswith("and 22 more")


def test_without_the_setting_a_name_says_which_one_it_is(home: Path) -> None:
    for wanted in ("sklearn", "sklearn:1.9"):
        refused(UsageError, wanted, Settings.from_environ({}, home=home), "ENVBUILD_ENVIRONMENTS", "folder or URL")


def test_a_folder_that_is_not_there_is_said(settings: Settings, tmp_path: Path) -> None:
    gone = settings.having(environments=str(tmp_path / "gone"))
    refused(UsageError, "sklearn", gone, str(tmp_path / "gone"), "No such file", "ENVBUILD_ENVIRONMENTS")


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        ":",
        ":1",
        "sklearn:",
        "..",
        "..:1",
        ".sklearn",
        "sklearn:..",
        "sklearn:.1",
        "SkLearn",
        "a b",
        "a:b:c",
        "a\n",
        "sklearn:1\n",
        "sklearn:1 ",
        "a" * 101,
        "sklearn:" + "1" * 101,
        "a\x00",
        "\\\\host",
        "~",
    ],
)
def test_what_is_no_name_is_refused_before_anything_is_looked_for(settings: Settings, wanted: str) -> None:
    refused(UsageError, wanted, settings, "NAME:VERSION")


def test_links_within_the_folder_are_followed_and_those_that_lead_out_are_refused(
    settings: Settings, folder: Path, tmp_path: Path
) -> None:
    # As Kubernetes mounts a ConfigMap.
    (folder / "..data").mkdir()
    (folder / "..data" / "7.yaml").write_text(text_of("sklearn", "7"))
    (folder / "sklearn" / "7.yaml").symlink_to("../..data/7.yaml")
    assert find("sklearn:7", settings).version == "7"
    (tmp_path / "8.yaml").write_text(text_of("sklearn", "8"))
    (folder / "sklearn" / "8.yaml").symlink_to(tmp_path / "8.yaml")
    refused(OverrideInvalid, "sklearn:8", settings, "leads out of")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.yaml").write_text(text_of("outside", "1"))
    (folder / "outside").symlink_to(tmp_path / "outside")
    refused(OverrideInvalid, "outside:1", settings, "leads out of")


def test_the_folder_itself_may_be_a_link(settings: Settings, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert find("sklearn:1.9", settings.having(environments=str(tmp_path / "link"))).version == "1.9"


def test_a_file_that_says_it_is_another_is_refused(settings: Settings, folder: Path) -> None:
    path = folder / "sklearn" / "3.yaml"
    for text, line in ((text_of("fastai-lts", "3"), 1), (text_of("sklearn", "3.0"), 2)):
        path.write_text(text)
        error = refused(OverrideInvalid, "sklearn:3", settings, "lies where sklearn:3 is")
        assert error.place is not None
        assert (error.place.file, error.place.line) == (str(path), line)


def test_paths_in_a_file_of_a_folder_are_relative_to_it(settings: Settings, folder: Path) -> None:
    (folder / "sklearn" / "requirements.txt").write_text("scikit-learn\n")
    text = "name: sklearn\nversion: 4\npython: '3.10'\nrequirements: requirements.txt\n"
    (folder / "sklearn" / "4.yaml").write_text(text)
    assert find("sklearn:4", settings).requirements == folder / "sklearn" / "requirements.txt"


def test_the_examples_are_such_a_folder(home: Path) -> None:
    settings = Settings.from_environ({}, home=home, environments=str(REPO / "examples" / "environments"))
    assert find("sklearn-lts", settings).version == "2025.6"
    assert find("fastai-lts:2.4", settings).conda_env is not None


# At a URL


class Site:
    """A server of files; who asked for what with which credentials stands in ``asked``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.moved: dict[str, str] = {}
        self.login: tuple[str, str] | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/environments"

    def publish(self, name: str, version: str, more: str = "") -> None:
        self.files[f"/environments/{name}/{version}.yaml"] = text_of(name, version, more).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _handler(self) -> Any:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization")
                site.asked.append((self.path, given))
                wanted = None if site.login is None else base64.b64encode(":".join(site.login).encode()).decode()
                if self.path in site.moved:
                    self.send_response(302)
                    self.send_header("Location", site.moved[self.path])
                    self.end_headers()
                elif wanted is not None and given != f"Basic {wanted}":
                    self.send_error(401)
                elif self.path in site.statuses:
                    self.send_error(site.statuses[self.path])
                elif self.path in site.files:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(site.files[self.path])
                else:
                    self.send_error(404)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def remote(home: Path, site: Site) -> Settings:
    return Settings.from_environ({}, home=home, environments=site.url)


def kept_in(settings: Settings) -> list[Path]:
    return sorted((settings.home / "environments").glob("*"))


def test_a_version_is_fetched_and_read_from_memory(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1.9")
    found = find("sklearn:1.9", remote)
    assert found.source == f"{site.url}/sklearn/1.9.yaml"
    assert isinstance(found.requirements, Node)
    assert found.requirements.plain() == ["scikit-learn"]
    assert found.digest == hashlib.sha256(site.files["/environments/sklearn/1.9.yaml"]).hexdigest()
    assert site.asked == [("/environments/sklearn/1.9.yaml", None)]


def test_a_slash_at_the_end_of_the_url_and_a_plus_in_the_version_are_understood(site: Site, remote: Settings) -> None:
    site.files["/environments/sklearn/1.0%2Bown.yaml"] = text_of("sklearn", "1.0+own").encode()
    assert find("sklearn:1.0+own", remote.having(environments=f"{site.url}/")).version == "1.0+own"


def test_a_name_is_the_newest_of_the_versions_that_are_listed(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1.10")
    site.files["/environments/sklearn/versions.yaml"] = b"- 1.9\n- 1.10\n- 2.0rc1\n"
    assert find("sklearn", remote).version == "1.10"


def test_without_a_list_of_versions_the_version_must_be_named(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1.10")
    refused(EnvironmentUnknown, "sklearn", remote, f"{site.url}/sklearn/versions.yaml", "--environment sklearn:VERSION")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "lists no versions"),
        (b"[]", "lists no versions"),
        (b"versions: [1]", "lists no versions"),
        (b"- ../../other\n", "no version"),
        (b"- [1]\n", "no version"),
        (b"-\n", "no version"),
        (b"- [", "not YAML"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_list_of_versions_that_is_none_is_refused(site: Site, remote: Settings, text: bytes, words: str) -> None:
    site.files["/environments/sklearn/versions.yaml"] = text
    refused(OverrideInvalid, "sklearn", remote, words)


def test_what_is_not_published_is_unknown(site: Site, remote: Settings) -> None:
    secret = site.url.replace("//", f"//user:{CANARY}@")
    refused(EnvironmentUnknown, "sklearn:3", remote.having(environments=secret), f"{site.url}/sklearn/3.yaml")
    assert kept_in(remote) == []


def test_a_fetched_file_is_checked_as_one_in_a_folder_is(site: Site, remote: Settings) -> None:
    site.files["/environments/sklearn/1.yaml"] = text_of("sklearn", "2").encode()
    error = refused(OverrideInvalid, "sklearn:1", remote, "lies where sklearn:1 is")
    assert str(error.place) == f"{site.url}/sklearn/1.yaml:2"
    site.publish("sklearn", "2", "constraint: ../../secret.txt\n")
    refused(OverrideInvalid, "sklearn:2", remote, "was fetched, and no files came with it")
    site.files["/environments/sklearn/3.yaml"] = b"<html>log in</html>"
    refused(OverrideInvalid, "sklearn:3", remote, "a single value")
    assert kept_in(remote) == []


def test_a_file_that_is_too_large_is_not_read_to_its_end(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1", "#" * (document.MAX_BYTES + 1))
    refused(OverrideInvalid, "sklearn:1", remote, "more than 10,485,760 bytes")


@pytest.mark.parametrize(("status", "words"), [(403, "netrc"), (500, "answers 500"), (204, "answers 204")])
def test_a_server_that_refuses_is_said(site: Site, remote: Settings, status: int, words: str) -> None:
    site.statuses["/environments/sklearn/1.yaml"] = status
    error = refused(EnvironmentUnreachable, "sklearn:1", remote, f"{site.url}/sklearn/1.yaml", words)
    assert (error.code, error.exit_code) == ("environment-unreachable", 4)


def test_a_server_that_is_not_there_is_said_without_credentials(remote: Settings, site: Site) -> None:
    closed = Site()
    closed.close()
    secret = closed.url.replace("//", f"//user:{CANARY}@")
    refused(EnvironmentUnreachable, "sklearn:1", remote.having(environments=secret), "does not answer", "--offline")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("ftp://h.example/environments", "neither a folder nor an http URL"),
        ("file:///srv/environments", "neither a folder nor an http URL"),
        ("https://", "neither a folder nor an http URL"),
        (f"https://u:{CANARY}@[::1", "no address"),
        (f"https://u:{CANARY}@h.example:port/", "no address"),
        (f"https://h.example/environments?token={CANARY}", "after ? or #"),
        (f"s3://u:{CANARY}@bucket/environments", "neither a folder nor an http URL"),
    ],
)
def test_a_place_of_another_kind_is_refused_without_saying_its_secrets(
    remote: Settings, place: str, words: str
) -> None:
    refused(UsageError, "sklearn:1", remote.having(environments=place), words, "ENVBUILD_ENVIRONMENTS")


# Credentials


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_credentials_of_the_url_are_used_and_neither_said_nor_kept(site: Site, remote: Settings) -> None:
    site.login = ("us er", f"{CANARY}/@")
    site.publish("sklearn", "1")
    secret = site.url.replace("//", f"//us%20er:{CANARY}%2F%40@")
    refused(EnvironmentUnreachable, "sklearn:1", remote, "401", "netrc")
    found = find("sklearn:1", remote.having(environments=secret))
    assert found.source == f"{site.url}/sklearn/1.yaml"
    assert site.asked[-1][1] == basic(*site.login)
    assert CANARY.encode() not in b"".join([path.read_bytes() for path in kept_in(remote)])


def test_credentials_of_netrc_are_used(
    site: Site, remote: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {CANARY}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    site.login = ("user", CANARY)
    site.publish("sklearn", "1")
    assert find("sklearn:1", remote).version == "1"


def test_a_redirect_to_another_host_is_followed_without_the_credentials(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    site.moved["/environments/sklearn/1.yaml"] = f"http://localhost:{site.port}/elsewhere/1.yaml"
    site.files["/elsewhere/1.yaml"] = site.files["/environments/sklearn/1.yaml"]
    secret = site.url.replace("//", f"//user:{CANARY}@")
    assert find("sklearn:1", remote.having(environments=secret)).version == "1"
    assert site.asked == [
        ("/environments/sklearn/1.yaml", basic("user", CANARY)),
        ("/elsewhere/1.yaml", None),
    ]


def test_redirects_without_end_are_given_up(site: Site, remote: Settings) -> None:
    site.moved["/environments/sklearn/1.yaml"] = "/environments/sklearn/1.yaml"
    refused(EnvironmentUnreachable, "sklearn:1", remote, "does not answer")


# Kept copies


def test_what_was_fetched_is_kept_and_used_offline(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    fetched = find("sklearn:1", remote)
    (kept,) = kept_in(remote)
    assert kept.name == f"{hashlib.sha256(f'{site.url}/sklearn/1.yaml'.encode()).hexdigest()}.yaml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    asked = len(site.asked)
    assert find("sklearn:1", remote.having(offline=True)) == fetched
    assert len(site.asked) == asked


def test_other_credentials_are_the_same_copy(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    find("sklearn:1", remote.having(environments=site.url.replace("//", "//one:two@")))
    assert find("sklearn:1", remote.having(offline=True)).version == "1"
    assert len(kept_in(remote)) == 1


def test_offline_without_a_copy_is_said_and_touches_no_network(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    site.files["/environments/sklearn/versions.yaml"] = b"- '1'\n"
    offline = remote.having(offline=True)
    refused(EnvironmentUnreachable, "sklearn:1", offline, "it is not kept", "without --offline")
    refused(EnvironmentUnreachable, "sklearn", offline, "--environment sklearn:VERSION")
    assert site.asked == []


def test_a_version_that_was_changed_after_it_was_published_is_an_error_with_both_digests(
    site: Site, remote: Settings
) -> None:
    site.publish("sklearn", "1")
    before = find("sklearn:1", remote)
    site.publish("sklearn", "1", "add: [boto3]\n")
    now = hashlib.sha256(site.files["/environments/sklearn/1.yaml"]).hexdigest()
    (kept,) = kept_in(remote)
    refused(OverrideInvalid, "sklearn:1", remote, before.digest, now, "a new version", str(kept))
    # It stays an error, and what was fetched first stays.
    refused(OverrideInvalid, "sklearn:1", remote, before.digest, now)
    assert find("sklearn:1", remote.having(offline=True)) == before
    kept.unlink()
    assert find("sklearn:1", remote).digest == now


def test_the_same_name_of_another_place_is_another(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    site.files["/others/sklearn/1.yaml"] = text_of("sklearn", "1", "add: [boto3]\n").encode()
    one = find("sklearn:1", remote)
    other = find("sklearn:1", remote.having(environments=site.url.replace("environments", "others")))
    assert one.digest != other.digest
    assert len(kept_in(remote)) == 2


def test_copies_of_a_store_that_anybody_may_write_are_not_used(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    find("sklearn:1", remote)
    remote.home.chmod(0o777)
    refused(StoreUntrusted, "sklearn:1", remote.having(offline=True))


def test_in_a_shared_store_the_copy_is_the_group_s(site: Site, remote: Settings) -> None:
    site.publish("sklearn", "1")
    find("sklearn:1", remote.having(shared=True))
    (kept,) = kept_in(remote)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o660
    assert stat.S_IMODE(kept.parent.stat().st_mode) & 0o070 == 0o070
    assert os.access(kept, os.R_OK)
