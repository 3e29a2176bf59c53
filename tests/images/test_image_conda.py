"""Images of locks with conda packages: the prefix of a host at its place in the image, and no conda program inside."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from containers import post, predicted, served, shell
from kit import REPO, cli, cli_environ
from local_index import LocalIndex
from stand_ins import debian, run_docker
from test_era_models import differences
from test_image_building import REQUEST, MakeModel, image
from test_image_secrets import CANARY, USER, everything_in
from tiny import File, wheel

from envbuild.conda.package import CondaHalf, CondaPackage
from envbuild.errors import BaseImageUnusable
from envbuild.images import prefix
from envbuild.images.base import Base
from envbuild.images.daemon import Daemon, Found
from envbuild.images.ground import NO_FACTS
from envbuild.images.layer import Member
from envbuild.images.shelf import Shelf
from envbuild.images.workshop import Workshop
from envbuild.lock import Lock
from envbuild.settings import Settings
from envbuild.target import Target

sys.path.append(str(REPO / "tests" / "conda"))
from channel import PLACEHOLDER, Channel, Channels, Content, Package, script, text
from channel_server import ChannelServer
from kept_channels import kept_channels

# Prefixes of real packages are made, and images of them.
pytestmark = pytest.mark.slow

HEART, IRIS = (REPO / "tests" / "models" / "py36_mlflow1_2" / name for name in ("heart", "iris"))
# When the packages of the channel were there.
MADE = "2022-12-01 12:00:00"
LOADER = """
import os

class Twice:
    def predict(self, data):
        import fruit
        return [2 * value for value in data]

class Said:
    def predict(self, data):
        names = ("CONDA_PREFIX", "ACTIVATED_HOME", "LEVEL", "VARIABLES_LEVEL", "LD_LIBRARY_PATH")
        return [os.environ.get(name, "") for name in names]

def _load_pyfunc(path):
    return Said() if os.path.exists(os.path.join(path, "said")) else Twice()
"""


@pytest.fixture(scope="session")
def channels(shared_home: Path, released: Callable[..., list[File]]) -> Channels:
    """The two channels of real packages."""
    return kept_channels(shared_home, released)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], ChannelServer]]:
    """Serves the channels in a folder over HTTP."""
    started: list[ChannelServer] = []

    def start(folder: Path) -> ChannelServer:
        started.append(ChannelServer(folder))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def make_environ(
    make_home: Callable[[str], Path], local_index: LocalIndex, channels: Channels
) -> Callable[..., dict[str, str]]:
    """What ``envbuild image`` is called with: a home of the test's own, an index, channels, and a base without any Python."""

    def make(home: str = "home", forge: str = channels.forge.url, **more: str) -> dict[str, str]:
        known = {
            "ENVBUILD_BASE_IMAGE": debian(),
            "ENVBUILD_BUILD_NETWORK": "host",
            "ENVBUILD_CONDA_PACKAGES": "conda",
            "ENVBUILD_MODEL_INDEXES": "allow",
            "ENVBUILD_CONDA_MIRROR": f"conda-forge={forge}",
        }
        return cli_environ(make_home(home), local_index.url, **{**known, **more})

    return make


@pytest.fixture
def make_conda_model(make_model: MakeModel, local_index: LocalIndex) -> Callable[..., Path]:
    """Makes models whose conda.yaml names packages of a channel, and ``fruit`` for pip."""
    local_index.add(wheel("fruit", "1.0"))

    def make(
        name: str, *conda: str, channel: str = "nodefaults", more: str = "", files: dict[str, str] | None = None
    ) -> Path:
        listed = "".join(f"- {spec}\n" for spec in ("python=3.8", *conda, "pip=22.3.1"))
        channels = f"- {channel}\n- conda-forge\n- nodefaults\n"
        text = f"channels:\n{channels}dependencies:\n{listed}- pip:\n  - fruit\n{more}"
        given = {"conda.yaml": text, **(files or {})}
        return make_model(name, python="3.8", created=MADE, build_dependencies=None, loader=LOADER, files=given)

    return make


MakeCondaModel = Callable[..., Path]
MakeEnviron = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def heart(shared_home: Path, channels: Channels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The image of a model of mlflow 1.2 whose scikit-learn is conda's, with its bill."""
    environ = of_2019(shared_home, channels)
    bill = tmp_path_factory.mktemp("heart") / "bill.json"
    made = image(HEART, "-t", "envbuild-test-conda-heart:1", "--sbom", bill, environ=environ)
    yield {**made, "bill": json.loads(bill.read_bytes())}
    run_docker("rmi", "--force", made["image"], made["environment"]["image"])


def of_2019(home: Path, channels: Channels) -> dict[str, str]:
    return cli_environ(
        home,
        ENVBUILD_BASE_IMAGE=debian(),
        ENVBUILD_BUILD_NETWORK="host",
        ENVBUILD_CONDA_PACKAGES="conda",
        ENVBUILD_CONDA_MIRROR=f"defaults={channels.main.url}",
    )


def check(model: Path, answer: Any) -> None:
    expected = json.loads(model.with_name(f"{model.name}.expected.json").read_text())
    assert set(answer) == {"predictions"}
    assert not list(differences(answer["predictions"], expected, 1e-6, "predictions"))


def test_a_model_of_2019_answers_from_a_base_without_any_python(heart: dict[str, Any]) -> None:
    body = HEART.with_name("heart.input.json").read_bytes()
    check(HEART, predicted(heart["image"], body))
    with served(heart["image"]) as container:
        status, answer = post(f"{container.split()[1]}/invocations", body)
    assert status == 200, answer
    check(HEART, answer)
    said = shell(heart["image"], "/opt/environment/bin/python -c 'import sys; print(sys.prefix, sys.version_info[:2])'")
    assert said.split("\n")[0] == "/opt/environment (3, 6)"
    assert shell(heart["image"], "ls -d /opt/python /usr/bin/python3 2>/dev/null; true") == ""


def test_a_second_model_with_that_lock_gets_the_same_layer(
    heart: dict[str, Any], shared_home: Path, channels: Channels
) -> None:
    made = image(IRIS, "-t", "envbuild-test-conda-iris:1", environ=of_2019(shared_home, channels))
    assert made["environment"] == {**heart["environment"], "origin": "local"}
    assert made["layers"][:-1] == heart["layers"][:-1]
    check(IRIS, predicted(made["image"], IRIS.with_name("iris.input.json").read_bytes()))


def test_verify_knows_what_conda_brought_and_finds_what_was_changed(
    heart: dict[str, Any], shared_home: Path, channels: Channels, tmp_path: Path
) -> None:
    environ = of_2019(shared_home, channels)
    done = cli("verify", heart["image"], environ=environ)
    assert done.returncode == 0, done.stderr
    (tmp_path / "Dockerfile").write_text(
        f"FROM {heart['image']}\nUSER 0\n"
        "RUN rm /opt/environment/conda-meta/scipy-*.json && echo '#' >>/opt/environment/lib/python3.6/json/tool.py\n"
    )
    run_docker("build", "--network", "none", "--tag", "envbuild-test-conda-changed:1", tmp_path, DOCKER_BUILDKIT="0")
    done = cli("verify", "envbuild-test-conda-changed:1", environ=environ)
    assert done.returncode != 0
    assert "scipy 1.3.1 py36_0 is no conda package of it" in done.stderr
    assert "json/tool.py has " in done.stderr


def test_the_bill_names_each_conda_package_by_its_file(heart: dict[str, Any], channels: Channels) -> None:
    found = {one["bom-ref"]: one for one in heart["bill"]["components"]}
    record = channels.main.repodata()["packages.conda"]["scikit-learn-0.21.3-py36_0.conda"]
    listed = found["conda:scikit-learn"]
    assert listed["purl"] == "pkg:conda/scikit-learn@0.21.3?build=py36_0&subdir=linux-64&type=conda"
    assert listed["hashes"] == [{"alg": "SHA-256", "content": record["sha256"]}]
    assert found["conda:python"]["version"] == "3.6.15"
    assert found["package:mlflow"]["purl"].startswith("pkg:pypi/mlflow@1.2.0")
    assert "python" not in found


def test_there_is_no_conda_program_and_nothing_of_the_host_inside(heart: dict[str, Any], shared_home: Path) -> None:
    script = "find / -xdev ! -path '/proc/*' \\( -type f -o -type l \\) 2>/dev/null | sed 's|.*/||'; true"
    names = set(shell(heart["image"], script, "--user", "0").split())
    assert {"python3.6", "history"} < names
    assert not names & {"conda", "mamba", "micromamba", "rattler", "rattler.abi3.so", "pixi", "_conda"}
    records = shell(heart["image"], "cat /opt/environment/conda-meta/*.json /opt/environment/pylock.toml")
    assert '"name": "scikit-learn"' in records
    for trace in (shared_home, tempfile.gettempdir(), Path.cwd()):
        assert f"{trace}/" not in records


def test_what_a_prefix_is_activated_with_reaches_the_model_and_not_the_server(
    make_conda_model: MakeCondaModel, make_environ: MakeEnviron
) -> None:
    variables = "variables:\n  LEVEL: '7'\n  LD_LIBRARY_PATH: /nowhere\n"
    model = make_conda_model("said", "activated", "variables", more=variables, files={"said": ""})
    made = image(model, environ=make_environ())
    said = ["/opt/environment", "/opt/environment/share/activated", "7", "3", "/nowhere"]
    assert predicted(made["image"], REQUEST) == {"predictions": said}
    environ = json.loads(run_docker("inspect", made["image"]).stdout)[0]["Config"]["Env"]
    assert [line.partition("=")[0] for line in environ] == ["PATH"]


def test_from_another_mirror_on_another_day_in_another_place_it_is_the_same_image(
    make_conda_model: MakeCondaModel,
    make_environ: MakeEnviron,
    channels: Channels,
    serve: Callable[[Path], ChannelServer],
    tmp_path: Path,
) -> None:
    model = make_conda_model("model", "placed", "scikit-learn", "pandas")
    first = image(model, environ=make_environ("first"))
    run_docker("rmi", "--force", first["image"], first["environment"]["image"])
    (tmp_path / "elsewhere").mkdir()
    mirror = serve(channels.folder)
    second = image(model, environ=make_environ("second", forge=mirror.url("forge"), TMPDIR=str(tmp_path / "elsewhere")))
    assert second["environment"] == first["environment"] == {**first["environment"], "origin": "built"}
    assert second["id"] == first["id"]
    assert second["layers"] == first["layers"]
    # The packages came from there, and not from a cache that both share.
    assert any(path.endswith("placed-1.0-0.conda") for path in mirror.requests)
    placed = shell(
        second["image"], "/opt/environment/bin/placed; grep -ac /opt/environment/lib /opt/environment/lib/placed.bin"
    )
    assert placed.split() == ["prefix=/opt/environment", "lib=/opt/environment/lib", "1"]


@pytest.mark.parametrize("by", ["login", pytest.param("token", marks=pytest.mark.slow)])
def test_what_lets_one_into_a_channel_stays_nowhere(
    make_conda_model: MakeCondaModel,
    make_environ: MakeEnviron,
    channels: Channels,
    serve: Callable[[Path], ChannelServer],
    tmp_path: Path,
    by: str,
) -> None:
    server, log = serve(channels.folder), tmp_path / "log"
    if by == "login":
        server.login = (USER, CANARY)
        environ = make_environ(forge=server.url_with_login("forge"))
    else:
        server.token = CANARY
        environ = make_environ(forge=server.url_with_token("forge"))
    made = image(
        make_conda_model("model", "placed"), "-v", "--log-file", log, "--sbom", tmp_path / "bill", environ=environ
    )
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}
    said = json.dumps(made).encode() + log.read_bytes() + (tmp_path / "bill").read_bytes()
    # What is looked for can be found, and was needed.
    everything = everything_in(made["image"])
    assert b"placed-1.0-0.conda" in everything
    assert any(server.authorizations) if by == "login" else any(CANARY in path for path in server.requests)
    assert CANARY.encode() not in everything + said
    kept = (path for path in Path(environ["ENVBUILD_HOME"]).rglob("*") if path.is_file())
    assert [path for path in kept if CANARY.encode() in path.read_bytes()] == []
    # Nor where a package was had from: another deployer's image has the same bits.
    assert server.host not in shell(made["image"], "cat /opt/environment/conda-meta/* /opt/environment/pylock.toml")


def test_offline_the_prefix_is_installed_from_the_cache_or_not_at_all(
    make_conda_model: MakeCondaModel,
    make_environ: MakeEnviron,
    channels: Channels,
    serve: Callable[[Path], ChannelServer],
    local_index: LocalIndex,
) -> None:
    server, model = serve(channels.folder), make_conda_model("model", "placed")
    environ, local_index.lasting = make_environ(forge=server.url("forge")), True
    assert cli("lock", model, environ=environ).returncode == 0
    asked = len(server.requests)
    done = cli("image", model, "--offline", environ=environ)
    assert done.returncode == 5, done.stderr
    assert "conda packages are not in the cache" in done.stderr
    assert len(server.requests) == asked
    assert cli("build", model, environ=environ).returncode == 0
    local_index.status = server.status = 503
    asked = len(server.requests)
    made = image(model, "--offline", environ=environ)
    assert made["environment"]["origin"] == "built"
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}
    assert len(server.requests) == asked


def test_another_file_than_the_locked_one_is_no_image(
    make_conda_model: MakeCondaModel,
    make_environ: MakeEnviron,
    channels: Channels,
    serve: Callable[[Path], ChannelServer],
) -> None:
    server, model = serve(channels.folder), make_conda_model("model", "placed")
    environ = make_environ(forge=server.url("forge"))
    assert cli("lock", model, environ=environ).returncode == 0
    server.served["placed-1.0-0.conda"] = (
        (channels.forge.root / "noarch").joinpath("six-1.16.0-pyhd8ed1ab_0.conda").read_bytes()
    )
    done = cli("image", model, "--json", environ=environ)
    assert done.returncode == 5, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "build-hash-mismatch"
    assert "placed" in done.stderr


@pytest.mark.parametrize("buildkit", ["0", "1"])
def test_a_context_has_the_prefix_and_is_built_without_a_network(
    make_conda_model: MakeCondaModel,
    make_environ: MakeEnviron,
    local_index: LocalIndex,
    tmp_path: Path,
    buildkit: str,
) -> None:
    environ, context = make_environ(), tmp_path / "context"
    done = cli("image", make_conda_model("model", "placed"), "--write-context", context, environ=environ)
    assert done.returncode == 0, done.stderr
    local_index.close()
    name = "envbuild-test-conda-context:1"
    run_docker("build", "--network", "none", "--tag", name, context, DOCKER_BUILDKIT=buildkit)
    run_docker("image", "prune", "--force", "--filter", "label=envbuild.working=1")
    assert predicted(name, REQUEST) == {"predictions": [2, 4]}
    assert shell(name, "ls -A /build 2>/dev/null; /opt/environment/bin/placed").split()[0] == "prefix=/opt/environment"
    done = cli("verify", name, environ=environ)
    assert done.returncode == 0, done.stderr


def test_a_base_whose_libc_is_older_than_a_conda_package_needs_is_refused(
    make_conda_model: MakeCondaModel, make_environ: MakeEnviron, tmp_path: Path
) -> None:
    newer = Channel(tmp_path / "newer").add(Package(name="newer", depends=("__glibc >=2.90",)))
    environ = make_environ(ENVBUILD_VIRTUAL_PACKAGE="__glibc=2.99")
    done = cli("image", make_conda_model("model", "newer", channel=newer.url), environ=environ)
    assert done.returncode == 5, done.stderr
    assert (
        "error[image-base-unusable]: the conda package newer 1.0 needs glibc 2.90, and envbuild-tests/debian"
        in done.stderr
    )


def package(name: str, *depends: str) -> CondaPackage:
    url = f"https://channel.example/linux-64/{name}-1.0-0.conda"
    return CondaPackage(
        name=name,
        version="1.0",
        build="0",
        build_number=0,
        subdir="linux-64",
        url=url,
        channel="https://channel.example",
        md5=None,
        sha256="a" * 64,
        depends=depends,
    )


def lock_of(*packages: CondaPackage) -> Lock:
    half = CondaHalf(packages=packages, channels=("https://channel.example",), subdir="linux-64")
    return Lock(python="3.8.18", target=Target("cp38", "manylinux_2_36_x86_64"), packages=(), conda=half)


def test_the_members_of_a_prefix_are_what_the_lock_decides_and_nothing_of_the_host(tmp_path: Path) -> None:
    site = "lib/python3.8/site-packages"
    brought = {
        f"{site}/tool.py": text("x = 1\n"),
        f"{site}/__pycache__/tool.cpython-38.pyc": text("of another time"),
        "share/where": text(f"{PLACEHOLDER}/lib"),
        "bin/tool": script(f"#!{PLACEHOLDER}/bin/python\n"),
        "bin/same": Content(target="tool"),
    }
    built = Package(name="tool", files=brought)
    contents = []
    for name in ("first", "second"):
        channel = Channel(tmp_path / name / "channel").add(built)
        said = channel.repodata()["packages.conda"][built.file_name]
        locked = replace(package("tool"), url=channel.file(built).as_uri(), sha256=said["sha256"], channel=channel.url)
        settings = Settings.from_environ({}, home=tmp_path / name / "home")
        with Daemon.connect() as daemon:
            workshop = Workshop(daemon, Shelf(settings.home), settings, lambda step: None)
            with prefix.staged(workshop, lock_of(locked), ()) as members:
                contents.append(
                    {member.name: (member.kind, member.mode, member.link, read(member)) for member in members}
                )
    assert contents[0] == contents[1]
    found = contents[0]
    assert found["opt/environment/share/where"][3] == b"/opt/environment/lib"
    assert found["opt/environment/bin/tool"][1:] == (0o755, "", b"#!/opt/environment/bin/python\n")
    assert found["opt/environment/bin/same"][2] == "tool"
    assert not [name for name in found if "__pycache__" in name]
    record = json.loads(found["opt/environment/conda-meta/tool-1.0-0.json"][3])
    assert record["files"] == ["bin/same", "bin/tool", f"{site}/tool.py", "share/where"]
    assert [one["_path"] for one in record["paths_data"]["paths"]] == record["files"]
    assert record["url"] == "file:///linux-64/tool-1.0-0.conda"
    assert str(tmp_path).encode() not in b"".join(content for *_, content in found.values())


def read(member: Member) -> bytes:
    source = member.source
    return source.read_bytes() if isinstance(source, Path) else source if isinstance(source, bytes) else b""


@pytest.mark.parametrize(
    ("needs", "is_met"), [("2.17", True), ("2.28", True), ("2.29", False), ("2.100", False), ("9", False)]
)
def test_libc_versions_are_compared_as_versions(needs: str, is_met: bool) -> None:
    found = Found(
        id="sha256:1",
        tags=(),
        digests=(),
        labels={},
        environ=(),
        diff_ids=(),
        architecture="amd64",
        os="linux",
        created="",
        size=0,
    )
    base = Base(reference="old", digest="sha256:1", image=found)
    facts = replace(NO_FACTS, platform="manylinux_2_28_x86_64")
    lock = lock_of(package("tool", "libc >=99", f"__glibc >={needs},<10.0.a0"))
    if is_met:
        prefix.check_libc(lock, base, facts)
    else:
        with pytest.raises(BaseImageUnusable, match=f"needs glibc {needs}, and old has 2.28"):
            prefix.check_libc(lock, base, facts)


def test_a_java_of_conda_is_not_had_from_debian_too() -> None:
    assert prefix.programs_in(lock_of(package("openjdk"))) == {"default-jre-headless"}
    assert prefix.programs_in(lock_of(package("python"))) == frozenset()
    assert prefix.programs_in(replace(lock_of(), conda=None)) == frozenset()
