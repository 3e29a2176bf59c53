"""`envbuild image` with a real daemon: two images, what is in them, and how they serve."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from containers import HARDENED, get, post, predicted, served, shell
from kit import REPO, cli, cli_environ
from local_index import LocalIndex
from machine import free_port
from stand_ins import docker_program, run_docker
from tiny import LOADER, backend, own_sdist, wheel

from envbuild.errors import ImageError
from envbuild.images.base import Base
from envbuild.images.daemon import Daemon
from envbuild.images.ground import NO_FACTS, Ground
from envbuild.images.shelf import Shelf
from envbuild.images.workshop import Part, Workshop
from envbuild.interpreters import Interpreter
from envbuild.settings import Settings

MakeModel = Callable[..., Path]
REQUEST = json.dumps({"inputs": [1, 2]}).encode()


def image(model: Path, *options: str | Path, environ: dict[str, str]) -> dict[str, Any]:
    """What a call says that must succeed."""
    done = cli("image", model, "--json", *options, environ=environ)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return {**answer, "stderr": done.stderr}


@pytest.fixture
def fruit(local_index: LocalIndex) -> LocalIndex:
    return local_index.add(wheel("fruit", "1.0"), wheel("fruit", "2.0"), wheel("cake", "1.0", requires=["fruit"]))


def test_an_image_answers_by_http_and_on_standard_output(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    made = image(make_model(pip=["cake"], more="mlflow_version: 1.30.0\n"), environ=image_environ)
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}
    with served(made["image"]) as container:
        name, url = container.split()
        assert get(f"{url}/health")[0] == 200
        assert get(f"{url}/version") == (200, "1.30.0")
        assert post(f"{url}/invocations", REQUEST) == (200, {"predictions": [2, 4]})
        status, answer = post(f"{url}/invocations", b"{")
        assert (status, set(answer)) == (400, {"error_code", "message"})
        run_docker("stop", name)
        state = json.loads(run_docker("inspect", name).stdout)[0]["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)


@pytest.mark.slow
def test_without_a_command_an_image_serves_on_8080(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    made = image(make_model(), environ=image_environ)
    config = json.loads(run_docker("inspect", made["image"]).stdout)[0]["Config"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Cmd"] == ["serve"]
    name = f"envbuild-test-{free_port()}"
    # A network of its own: the port is the container's alone, and asked for from inside.
    run_docker("run", "--detach", "--name", name, "--network", "none", *HARDENED, made["image"])
    try:
        ask = ("exec", name, *config["Healthcheck"]["Test"][1:])
        end = time.monotonic() + 60
        while (done := run_docker(*ask, check=False)).returncode != 0 and time.monotonic() < end:
            time.sleep(0.1)
        assert done.returncode == 0, done.stderr
    finally:
        run_docker("rm", "--force", name)


def test_the_container_is_nobody_in_particular_and_holds_no_tools(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str], base: str
) -> None:
    made = image(make_model(pip=["fruit"]), environ=image_environ)
    config = json.loads(run_docker("inspect", made["image"]).stdout)[0]["Config"]
    assert config["User"] == "10001:10001"
    said = shell(
        made["image"],
        "id -u; id -un; command -v gcc cc g++ make pip uv; ls -A /var/cache/envbuild /run/envbuild 2>/dev/null; true",
    )
    assert said.split() == ["10001", "model"]
    tools = "find / -xdev \\( -name uv -o -name '*.whl' -o -path '*/.cache/pip' \\) 2>/dev/null; true"
    # What the base itself holds (a Python brings the wheels of its ensurepip) is its maker's.
    assert set(shell(made["image"], tools).split()) <= set(shell(base, tools).split())
    writable = shell(made["image"], "find /opt /etc -xdev -writable ! -type l; true")
    assert writable == ""


def test_labels_say_what_is_in_an_image(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str], base: str
) -> None:
    model = make_model("Fruit Salad", pip=["fruit==1.0"], more="mlflow_version: 1.30.0\n")
    made = image(model, "--label", "team=scoring", "--as-of", "2022-01-01", environ=image_environ)
    labels = json.loads(run_docker("inspect", made["image"]).stdout)[0]["Config"]["Labels"]
    assert made["image"] == f"fruit-salad:{made['lock_hash'][:12]}-{made['model_digest'][7:19]}"
    wanted = {
        "org.opencontainers.image.title": "Fruit Salad",
        "org.opencontainers.image.created": "2021-06-15T12:00:00Z",
        "org.opencontainers.image.base.name": base,
        "org.opencontainers.image.base.digest": made["base"]["digest"],
        "envbuild.lock-hash": made["lock_hash"],
        "envbuild.model-digest": made["model_digest"],
        "envbuild.image-key": made["environment"]["key"],
        "envbuild.mlflow-version": "1.30.0",
        "team": "scoring",
    }
    assert labels == {**labels, **wanted}
    assert {part["what"].partition(" ")[0] for part in made["layers"]} == {"base", "the"}
    assert sum(part["size"] for part in made["layers"]) > 10**8
    assert {"lock", "base", "ground", "environment", "model"} <= set(made["seconds"])


def test_a_change_in_the_model_alone_installs_nothing(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    model = make_model(pip=["fruit"])
    first = image(model, "-t", "envbuild-test-salad:1", environ=image_environ)
    (model / "code" / "its_loader.py").write_text(LOADER.replace("2 * value", "3 * value"))
    second = image(model, "-t", "envbuild-test-salad:1", environ=image_environ)
    assert first["environment"]["origin"] == "built"
    assert second["environment"] == {**first["environment"], "origin": "local"}
    assert "install" not in second["stderr"]
    assert first["layers"][:-1] == second["layers"][:-1]
    assert predicted("envbuild-test-salad:1", REQUEST) == {"predictions": [3, 6]}


@pytest.mark.slow
def test_models_with_one_lock_share_the_image_of_their_environment(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    first = image(make_model("one", pip=["fruit"]), environ=image_environ)
    second = image(make_model("two", pip=["fruit"]), environ=image_environ)
    other = image(make_model("three", pip=["fruit<2"]), environ=image_environ)
    assert second["environment"] == {**first["environment"], "origin": "local"}
    assert other["environment"]["origin"] == "built"
    assert other["environment"]["key"] != first["environment"]["key"]


@pytest.mark.slow
def test_the_image_of_an_environment_serves_a_model_that_is_mounted(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    model = make_model(pip=["fruit"])
    made = image(model, environ=image_environ)
    environment = f"env:{made['environment']['key']}"
    assert made["environment"]["image"] == environment
    assert "predictions" in predicted(environment, REQUEST, "--volume", f"{model}:/mnt/models:ro")
    done = run_docker("run", "--rm", "--interactive", "--network", "none", environment, "predict", check=False)
    assert done.returncode == 3
    assert b"error[model-not-found]" in done.stderr


def test_two_builds_from_nothing_give_the_same_bits(
    make_model: MakeModel,
    make_home: Callable[[str], Path],
    fruit: LocalIndex,
    image_environ: dict[str, str],
) -> None:
    fruit.add(backend(), own_sdist("old-one", "1.0"))
    model = make_model(pip=["cake", "old-one"], files={"data/weights.bin": bytes(range(256))})
    first = image(model, "-t", "envbuild-test-same:1", environ=image_environ)
    for name in ("envbuild-test-same:1", first["environment"]["image"]):
        run_docker("rmi", name)
    (model / "MLmodel").touch()
    second = image(
        model, "-t", "envbuild-test-same:1", environ={**image_environ, "ENVBUILD_HOME": str(make_home("another"))}
    )
    assert second["environment"]["origin"] == "built"
    assert [part["diff_id"] for part in first["layers"]] == [part["diff_id"] for part in second["layers"]]
    assert (first["id"], first["environment"]["id"]) == (second["id"], second["environment"]["id"])


@pytest.mark.slow
def test_two_callers_at_once_build_an_environment_once(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    model = make_model(pip=["cake"])
    argv = [sys.executable, "-m", "envbuild", "image", str(model), "--json"]
    calls = [
        subprocess.Popen([*argv, "-t", f"envbuild-test-{n}:1"], env=image_environ, stdout=-1, stderr=-1) for n in "ab"
    ]
    answers = []
    for call in calls:
        out, err = call.communicate(timeout=120)
        assert call.returncode == 0, err.decode()
        answers.append(json.loads(out))
    assert sorted(answer["environment"]["origin"] for answer in answers) == ["built", "local"]
    assert answers[0]["environment"]["id"] == answers[1]["environment"]["id"]


@pytest.mark.slow
def test_what_lies_inside_the_model_and_what_must_be_built_is_installed_too(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    fruit.add(backend(), own_sdist("old-one", "1.0"))
    own = wheel("own", "1.0")
    loader = LOADER.replace("import json, os, sys", "import json, os, sys, own, old_one, fruit")
    model = make_model(
        pip=[f"./code/{own.name}", "old-one", "cake"], loader=loader, files={f"code/{own.name}": own.content}
    )
    made = image(model, environ=image_environ)
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}


def test_offline_an_image_is_built_from_the_cache(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    fruit.lasting, model = True, make_model(pip=["cake"])
    assert cli("build", model, environ=image_environ).returncode == 0
    fruit.status = 503
    made = image(model, "--offline", environ=image_environ)
    assert made["environment"]["origin"] == "built"
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}


@pytest.mark.slow
def test_an_image_is_built_from_a_bundle_without_an_index_and_has_the_key_that_it_has_with_one(
    make_model: MakeModel, fruit: LocalIndex, make_home: Callable[[str], Path], image_environ: dict[str, str]
) -> None:
    fruit.add(own_sdist("nut", "1.0"), backend())
    model = make_model(pip=["cake", "nut"], loader=LOADER.replace("import json", "import nut, json"))
    bundle, context = model.parent / "cake.bundle", model.parent / "context"
    done = cli("bundle", "export", model, "-o", bundle, environ=image_environ)
    assert done.returncode == 0, done.stderr
    asked, environ = len(fruit.requests), {**image_environ, "ENVBUILD_HOME": str(make_home("other"))}
    made = image(bundle, environ=environ)
    assert made["environment"]["origin"] == "built"
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}
    done = cli("image", bundle, "--write-context", context, environ=environ)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (context / "build" / "files").iterdir()) == [
        "cake-1.0-py3-none-any.whl",
        "fruit-2.0-py3-none-any.whl",
        "nut-1.0-py3-none-any.whl",
    ]
    assert fruit.requests[asked:] == []
    online = image(model, environ=image_environ)
    assert (online["lock_hash"], online["environment"]["key"]) == (made["lock_hash"], made["environment"]["key"])


@pytest.mark.slow
def test_an_interrupted_call_leaves_nothing_and_the_next_one_works(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    model = make_model(pip=["cake"])
    assert cli("lock", model, environ=image_environ).returncode == 0
    fruit.open.clear()
    argv = [sys.executable, "-m", "envbuild", "image", str(model), "-t", "envbuild-test-cut:1"]
    call = subprocess.Popen(argv, env=image_environ, stdout=-1, stderr=-1)
    listing = (docker_program(), "ps", "--quiet", "--filter", "label=envbuild.working")
    end = time.monotonic() + 60
    while not fruit.waiting.is_set() or not subprocess.check_output(listing):
        assert time.monotonic() < end
        assert call.poll() is None, call.communicate()
        time.sleep(0.05)
    call.send_signal(signal.SIGINT)
    _, err = call.communicate(timeout=60)
    assert call.returncode == 130, err
    assert b"error[interrupted]" in err
    assert b"Traceback" not in err
    assert subprocess.check_output(listing) == b""
    fruit.open.set()
    assert image(model, "-t", "envbuild-test-cut:1", environ=image_environ)["environment"]["origin"] == "built"


def test_the_documented_answer_has_the_keys_that_there_are(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    page = (REPO / "docs" / "cli.md").read_text(encoding="utf-8")
    texts = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    (example,) = [known for known in map(json.loads, texts) if known["command"] == "image"]
    made = image(make_model(), environ=image_environ)
    assert set(made) - {"stderr"} == set(example)
    for part in ("environment", "base", "seconds"):
        assert set(made[part]) == set(example[part])
    assert set(made["layers"][0]) == set(example["layers"][0])


@pytest.mark.slow
def test_every_name_that_is_given_is_the_images(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    made = image(make_model(), "-t", "envbuild-test-x:1", "-t", "envbuild-test-y:latest", environ=image_environ)
    for name in made["tags"]:
        assert json.loads(run_docker("inspect", name).stdout)[0]["Id"] == made["id"]


def test_a_daemon_that_has_none_of_the_layers_is_sent_all_of_them(
    base: str, filled_shelf: list[Path], shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_environ({}, home=shared_home)
    (server,) = [path for path in filled_shelf if path.name.startswith("server-") and path.suffix == ".tar"]
    layer = Shelf(shared_home).kept_layer(server.stem)
    assert layer is not None
    part, sent = Part(kind="server", layer=layer, what="the HTTP side"), list[int]()
    with Daemon.connect() as daemon:
        load = daemon.load

        def refuse_less(archive: Iterable[bytes]) -> None:
            """As a daemon with another image store does: what an archive names must be in it."""
            content = b"".join(archive)
            sent.append(content.count(b"/layer.tar\0"))
            if sent[-1] < len(config.layers):
                raise ImageError("there is a layer missing")
            load([content])

        monkeypatch.setattr(daemon, "load", refuse_less)
        found = daemon.find(base)
        assert found is not None
        known = Base(reference=base, digest=found.id, image=found)
        config = Ground(base=known, facts=NO_FACTS, python=_NOBODYS, parts=(part,)).config()
        Workshop(daemon, Shelf(shared_home), settings, lambda step: None).load(
            config, ["envbuild-test-whole:1"], [part], known
        )
        assert sent == [0, 1, 1, len(config.layers)]
        made = daemon.find("envbuild-test-whole:1")
    assert made is not None
    assert made.id == config.id


_NOBODYS = Interpreter(executable="/usr/bin/python3.8", version="3.8.0", abi="", platform="linux-x86_64")


def test_the_models_digest_is_that_of_its_files(make_model: MakeModel, tmp_path: Path) -> None:
    from envbuild.images.model import model_layer
    from envbuild.model import read_model

    model = make_model(files={"data/ü": b"1"})
    first = model_layer(read_model(model), tmp_path)
    (model / "data" / "ü").touch()
    (model / "data").chmod(0o700)
    assert model_layer(read_model(model), tmp_path).diff_id == first.diff_id
    (model / "data" / "ü").write_bytes(b"2")
    assert model_layer(read_model(model), tmp_path).diff_id != first.diff_id


def test_a_link_that_leads_out_of_the_model_is_refused(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str]
) -> None:
    model = make_model()
    (model / "weights").symlink_to("/etc/passwd")
    done = cli("image", model, environ=image_environ)
    assert done.returncode == 3
    assert "leads out of the model" in done.stderr


@pytest.mark.slow
def test_the_environment_of_another_index_or_home_needs_no_new_key(
    make_model: MakeModel,
    make_home: Callable[[str], Path],
    fruit: LocalIndex,
    make_index: Callable[[], LocalIndex],
    image_environ: dict[str, str],
    base: str,
) -> None:
    mirror = make_index().add(*fruit.files)
    model = make_model(pip=["fruit"])
    first = image(model, environ=image_environ)
    elsewhere = cli_environ(make_home("b"), mirror.url, ENVBUILD_BASE_IMAGE=base, ENVBUILD_BUILD_NETWORK="host")
    second = image(model, environ=elsewhere)
    assert second["environment"] == {**first["environment"], "origin": "local"}


@pytest.mark.slow
def test_a_wheel_of_the_deployers_own_is_in_the_image(
    make_model: MakeModel, fruit: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    own = wheel("fruit", "1.0+fixed")
    (tmp_path / own.name).write_bytes(own.content)
    made = image(make_model(pip=["fruit==1.0"]), "--set", tmp_path / own.name, environ=image_environ)
    said = shell(made["image"], "/opt/environment/bin/python -c 'import fruit; print(fruit.version)'")
    assert said.strip() == "1.0+fixed"
    assert str(tmp_path) not in shell(made["image"], "cat /opt/environment/pylock.toml")
