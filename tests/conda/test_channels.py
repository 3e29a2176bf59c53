"""Which channel a package comes from, and how one that wants a login gets it without writing it down."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from channel import SUBDIR, Channel, Package, text
from channel_server import ChannelServer
from room import Room, named

from envbuild.conda.channels import Channel as Named
from envbuild.conda.channels import channels_of, logins, mirrored, spec_for, urls_of
from envbuild.conda.package import CondaHalf, to_table
from envbuild.conda.part import conda_part
from envbuild.document import read
from envbuild.errors import EnvbuildError

FORGE, DEFAULTS = "https://conda.anaconda.org/conda-forge", "https://repo.anaconda.com/pkgs/main"
R = "https://repo.anaconda.com/pkgs/r"


# From names to URLs


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("[conda-forge]", ("conda-forge", "defaults")),
        ("[conda-forge, nodefaults]", ("conda-forge",)),
        ("[defaults, conda-forge]", ("defaults", "conda-forge")),
        ("[nodefaults]", ()),
        ("[conda-forge, conda-forge, nodefaults]", ("conda-forge",)),
        (None, ("defaults",)),
    ],
)
def test_defaults_are_asked_last_unless_they_are_named_or_refused(
    tmp_path: Path, listed: str | None, names: tuple[str, ...]
) -> None:
    channels = "" if listed is None else f"channels: {listed}\n"
    (tmp_path / "conda.yaml").write_text(f"{channels}dependencies:\n- numpy\n")
    part = conda_part(read(tmp_path / "conda.yaml"))
    assert part is not None
    assert part.channels == names


@pytest.mark.parametrize(
    ("name", "urls"),
    [
        ("conda-forge", (FORGE,)),
        ("conda-forge/label/dev", (f"{FORGE}/label/dev",)),
        ("defaults", (DEFAULTS, R)),
        ("pkgs/main", (DEFAULTS,)),
        ("https://h.invalid/own/", ("https://h.invalid/own",)),
        ("https://u:p@h.invalid/t/x/own", ("https://u:p@h.invalid/t/x/own",)),
        ("file:///opt/own", ("file:///opt/own",)),
        ("/opt/its own", ("file:///opt/its%20own",)),
    ],
)
def test_a_name_stands_for_its_urls(name: str, urls: tuple[str, ...]) -> None:
    assert urls_of(channels_of([name], [], {})) == urls


def test_the_deployer_s_urls_stand_in_for_names_and_urls() -> None:
    mirrors = {"conda-forge": "https://m.invalid/forge", R: "https://m.invalid/r", "https://h.invalid/a": "https://b"}
    named = ["conda-forge", "defaults", "https://u:p@h.invalid/a/"]
    assert urls_of(channels_of(named, [], mirrors)) == (
        "https://m.invalid/forge",
        DEFAULTS,
        "https://m.invalid/r",
        "https://b",
    )
    assert urls_of(channels_of(["defaults"], [], {"defaults": "https://m.invalid/d"})) == ("https://m.invalid/d",)


def test_a_channel_that_only_a_spec_names_comes_last() -> None:
    specs = ["bioconda::a", "conda-forge/noarch::b", "c[channel=other, version=1]", "pkgs/main::d", "e"]
    found = channels_of(["conda-forge", "defaults"], specs, {})
    assert [channel.name for channel in found] == ["conda-forge", "defaults", "bioconda", "other"]


@pytest.mark.parametrize(
    ("spec", "read_as"),
    [
        ("name >=1", "name >=1"),
        ("conda-forge::name=1", "conda-forge::name=1"),
        ("conda-forge/noarch::name", "conda-forge/noarch::name"),
        ("defaults::name", "defaults::name"),
        ("pkgs/main::name", f"{DEFAULTS}::name"),
        ("https://u:canary@h.invalid/t/canary/own/::name", "https://h.invalid/own::name"),
        ("https://h.invalid/own/linux-64::name", "https://h.invalid/own/linux-64::name"),
        ("https://h.invalid/old::name", "https://m.invalid/new::name"),
        ("name[channel='https://u:canary@h.invalid/own', version='>=1']", "name[channel='https://h.invalid/own', version='>=1']"),
        ("name[version='>=1',channel=conda-forge]", "name[version='>=1',channel='conda-forge']"),
    ],
)  # fmt: skip
def test_a_spec_s_channel_is_named_as_the_solver_knows_it(spec: str, read_as: str) -> None:
    mirrors = {"https://h.invalid/old": "https://u:canary@m.invalid/new"}
    channels = channels_of(["conda-forge", "defaults"], [spec], mirrors)
    assert spec_for(spec, channels, mirrors) == read_as


def test_a_locked_package_is_fetched_from_the_deployer_s_mirror() -> None:
    mirrors = {"conda-forge": "https://u:canary@m.invalid/t/canary/forge", "defaults": "https://m.invalid/d/"}
    assert mirrored(f"{FORGE}/noarch/a-1-0.conda", mirrors) == "https://m.invalid/forge/noarch/a-1-0.conda"
    assert mirrored(f"{R}/noarch/a-1-0.conda", mirrors) == "https://m.invalid/d/noarch/a-1-0.conda"
    assert mirrored("https://h.invalid/own/noarch/a-1-0.conda", mirrors) == "https://h.invalid/own/noarch/a-1-0.conda"


def test_logins_are_listed_by_urls_without_them_the_first_that_has_one() -> None:
    urls = ["https://h.invalid/a", "https://u:p%40@h.invalid/a/", "https://x:y@h.invalid/a", "https://h.invalid/t/k/b"]
    assert logins(urls) == [
        {"url": "https://h.invalid/a", "login": ["u", "p@"], "through": None},
        {"url": "https://h.invalid/b", "login": None, "through": "https://h.invalid/t/k/b"},
    ]


def test_a_channel_shows_no_url_in_tracebacks() -> None:
    assert "canary" not in repr(channels_of(["https://u:canary@h.invalid/t/canary/a"], [], {}))
    assert "canary" not in repr(Named(name="a", urls=("https://u:canary@h.invalid",)))


# Priority


@pytest.fixture
def two(make_channel: Callable[..., Channel]) -> tuple[Channel, Channel]:
    """The same package on both, the newer one on the second; and one that needs the newer one."""
    first = make_channel("first").add(Package(name="shared", version="1.0"), Package(name="alone", version="1.0"))
    second = make_channel("second").add(
        Package(name="shared", version="2.0"), Package(name="newer", depends=("shared >=2",))
    )
    return first, second


def test_the_first_channel_that_has_a_package_is_the_one_it_comes_from(
    two: tuple[Channel, Channel], room: Room
) -> None:
    first, second = two
    assert named(room.solve("shared", channels=[first.url, second.url])) == {"shared": "1.0"}
    assert named(room.solve("shared", channels=[second.url, first.url])) == {"shared": "2.0"}


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("first::shared", "1.0"),
        ("second::shared", "2.0"),
        ("second/linux-64::shared", "2.0"),
        ("shared[channel=second]", "2.0"),
        ("{url}::shared", "2.0"),
        ("{url}/linux-64::shared", "2.0"),
    ],
)
def test_a_spec_s_own_channel_counts_whatever_comes_first(
    two: tuple[Channel, Channel], room: Room, spec: str, version: str
) -> None:
    mirrors = [f"{channel.root.name}={channel.url}" for channel in two]
    found = room.solve(spec.format(url=two[1].url), channels=["first", "second"], conda_mirror=mirrors)
    assert named(found) == {"shared": version}


def test_a_channel_that_only_a_spec_names_is_asked_for_the_rest_as_well(
    two: tuple[Channel, Channel], room: Room
) -> None:
    first, second = two
    found = room.solve(f"{second.url}::shared", "alone", "newer", channels=[first.url])
    assert named(found) == {"shared": "2.0", "alone": "1.0", "newer": "1.0"}


def test_the_urls_of_defaults_are_of_one_priority(two: tuple[Channel, Channel], room: Room) -> None:
    """As conda has it: what the first lacks, or has too old, the others may bring."""
    mirrors = [f"{url}={channel.url}" for url, channel in zip((DEFAULTS, R), two)]
    for spec in ("shared", "defaults::shared", "newer"):
        assert named(room.solve(spec, channels=["defaults"], conda_mirror=mirrors))["shared"] == "2.0"


# Logins


PASSWORD, TOKEN = "canary-p@ss/word", "canary-token-1"


def secrets_in(*folders: Path) -> list[str]:
    """The files that hold one, by any of its spellings."""
    spellings = [word.encode() for word in (PASSWORD, "canary-p%40ss%2Fword", TOKEN, "canary")]
    found = []
    for folder in folders:
        for place, _, names in os.walk(folder):
            for path in (Path(place, name) for name in names):
                if not path.is_symlink() and any(word in path.read_bytes() for word in spellings):
                    found.append(str(path))
    return found


@pytest.fixture
def private(served_channel: ChannelServer, own_channel: Channel) -> ChannelServer:
    """A channel with a package, for a test to lock up."""
    own_channel.add(Package(name="secret", files={"share/secret.txt": text("in")}))
    return served_channel


def lock_up(server: ChannelServer, how: str) -> str:
    """The URL that gets in."""
    if "login" in how:
        server.login = ("me", PASSWORD)
    if "token" in how:
        server.token = TOKEN
    path = f"t/{TOKEN}/own" if "token" in how else "own"
    user = "me:canary-p%40ss%2Fword@" if "login" in how else ""
    return f"http://{user}{server.host}/{path}"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("how", ["login", "token", "login and token"])
@pytest.mark.parametrize("said_by", ["model", "mirror", "spec"])
def test_a_login_reaches_the_channel_and_is_written_nowhere(
    private: ChannelServer, room: Room, tmp_path: Path, how: str, said_by: str
) -> None:
    url = lock_up(private, how)
    if said_by == "spec":
        packages = room.solve(f"{url}::secret", channels=[])
        settings, channels = {}, [url]
    elif said_by == "mirror":
        settings, channels = {"conda_mirror": [f"hidden={url}"]}, []
        packages = room.solve("hidden::secret", channels=["hidden"], **settings)
    else:
        settings, channels = {}, [url]
        packages = room.solve("secret", channels=[url])
    plain = private.url("own")
    assert [(one.url, one.channel.rstrip("/")) for one in packages] == [(f"{plain}/{SUBDIR}/secret-1.0-0.conda", plain)]
    half = CondaHalf(packages=packages, channels=(plain,), subdir=SUBDIR)
    (tmp_path / "lock.json").write_text(json.dumps(to_table(half), default=str))
    room.rattler(*channels, **settings).provided(packages, room.steps.append)
    prefix = room.install(packages, tmp_path / "prefix", channels=channels, **settings)
    assert (prefix / "share" / "secret.txt").read_text() == "in"
    assert {status for status, _ in private.answers} <= {200, 206, 304, 404}
    assert secrets_in(tmp_path / "home", prefix, tmp_path / "lock.json", tmp_path) == []
    assert "canary" not in repr(room.steps)
    assert list(tmp_path.glob("home/conda/**/*.json")), "nothing was looked through"


@pytest.mark.parametrize("how", ["login", "token"])
def test_who_has_no_login_is_told_how_to_give_one(private: ChannelServer, room: Room, tmp_path: Path, how: str) -> None:
    url = lock_up(private, how)
    packages = room.solve("secret", channels=[url])
    for asking in (
        lambda: room.solve("secret", channels=[private.url("own")]),
        lambda: room.rattler().provided(packages, room.steps.append),
        lambda: room.install(packages, tmp_path / "prefix"),
    ):
        with pytest.raises(EnvbuildError) as caught:
            asking()
        assert "401 Unauthorized" in caught.value.message
        assert "https://USER:PASSWORD@host/channel" in str(caught.value.hint)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("how", ["login", "token", "login and token"])
def test_a_refused_login_is_in_no_message(private: ChannelServer, room: Room, tmp_path: Path, how: str) -> None:
    url = lock_up(private, how)
    packages = room.solve("secret", channels=[url])
    private.login, private.token = ("me", "another"), "another"
    for status in (401, 403, 404):
        private.refusal = status
        for asking in (
            lambda: room.solve("secret", channels=[url]),
            lambda: room.solve(f"{url}::secret", channels=[]),
            lambda: room.rattler(url).provided(packages, room.steps.append),
            lambda: room.install(packages, tmp_path / "prefix", channels=[url]),
        ):
            with pytest.raises(EnvbuildError) as caught:
                asking()
            assert str(status) in caught.value.message
            assert "canary" not in json.dumps(caught.value.to_dict())
            assert private.host in caught.value.message


def test_what_cannot_be_solved_or_read_on_a_locked_up_channel_is_said_without_its_login(
    private: ChannelServer, room: Room
) -> None:
    url = lock_up(private, "login and token")
    for spec in ("missing", f"{url}::missing", f"{url}::secret=7", f"{url}::secret[version='>=']", "secret >=1,<<2"):
        with pytest.raises(EnvbuildError) as caught:
            room.solve(spec, channels=[url])
        assert "canary" not in json.dumps(caught.value.to_dict())


def test_two_channels_of_one_host_have_logins_of_their_own(
    make_channel: Callable[..., Channel], serve: Callable[[Path], ChannelServer], room: Room
) -> None:
    own = make_channel("own").add(Package(name="one"))
    make_channel("own-other").add(Package(name="two"))
    server = serve(own.root.parent)
    urls = [f"http://first:canary1@{server.host}/own", f"http://second:canary2@{server.host}/own-other"]
    assert named(room.solve("one", "two", channels=urls)) == {"one": "1.0", "two": "1.0"}
    said = {(path.split("/")[1], login) for path, login in zip(server.requests, server.authorizations)}
    assert said == {("own", "Basic Zmlyc3Q6Y2FuYXJ5MQ=="), ("own-other", "Basic c2Vjb25kOmNhbmFyeTI=")}


def test_another_channel_gets_no_login(
    make_channel: Callable[..., Channel], serve: Callable[[Path], ChannelServer], room: Room
) -> None:
    own = make_channel("own").add(Package(name="one"))
    make_channel("open").add(Package(name="two"))
    server = serve(own.root.parent)
    room.solve("one", "two", channels=[f"http://me:canary@{server.host}/own", server.url("open")])
    for path, login in zip(server.requests, server.authorizations):
        assert (login is not None) == path.startswith("/own/"), path


def certified(folder: Path) -> Path:
    """An authority of one's own, and a server's certificate by it."""

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    (folder / "more.cnf").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=own")
    openssl("req -newkey rsa:2048 -nodes -keyout own.key -out own.csr -subj /CN=127.0.0.1")
    openssl("x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out own.pem -days 2 -extfile more.cnf")
    return folder / "ca.pem"


def test_a_channel_s_certificate_is_held_against_the_deployer_s_authority(
    own_channel: Channel,
    serve: Callable[..., ChannelServer],
    room: Room,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_channel.add(Package(name="name"))
    authority, context = certified(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    server = serve(own_channel.root.parent, context)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(EnvbuildError, match="UnknownIssuer") as caught:
        room.solve("name", channels=[server.url("own")])
    assert "SSL_CERT_FILE" in str(caught.value.hint)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    packages = room.solve("name", channels=[server.url("own")])
    room.install(packages, tmp_path / "prefix")


def test_what_a_channel_says_is_asked_for_anew_and_not_fetched_anew(private: ChannelServer, room: Room) -> None:
    room.solve("secret", channels=[private.url("own")])
    private.answers.clear()
    room.solve("secret", channels=[private.url("own")])
    assert [status for status, path in private.answers if path.endswith(f"{SUBDIR}/repodata.json.zst")][-1] == 304


def test_a_channel_s_own_word_for_others_is_not_heeded(make_channel: Callable[..., Channel], room: Room) -> None:
    """A channel may name others that belong to it (CEP 42); the model has not asked for those."""
    make_channel("base").add(Package(name="beneath"))
    own = make_channel("own").add(Package(name="above"))
    for folder in (SUBDIR, "noarch"):
        path = own.root / folder / "repodata.json"
        known = json.loads(path.read_bytes())
        known["info"]["channel_relations"] = {"base": "../base"}
        path.write_text(json.dumps(known))
        path.with_name("repodata.json.zst").unlink()
    with pytest.raises(EnvbuildError, match="no channel has beneath"):
        room.solve("above", "beneath", channels=[own.url])
