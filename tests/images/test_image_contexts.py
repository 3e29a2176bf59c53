"""Build contexts and templates, built by whoever builds Dockerfiles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import predicted, shell
from kit import REPO, cli
from local_index import LocalIndex
from stand_ins import run_docker
from test_image_building import REQUEST, MakeModel, image
from tiny import LOADER, backend, own_sdist, wheel

pytestmark = pytest.mark.slow


@pytest.fixture
def pruned() -> Iterator[None]:
    """Removes what the builder without BuildKit keeps of a stage that is in no image."""
    yield
    run_docker("image", "prune", "--force", "--filter", "label=envbuild.working=1")


@pytest.mark.parametrize("buildkit", ["0", "1"])
def test_a_context_is_complete_and_built_unchanged_without_a_network(
    make_model: MakeModel,
    local_index: LocalIndex,
    image_environ: dict[str, str],
    tmp_path: Path,
    buildkit: str,
    pruned: None,
) -> None:
    local_index.add(wheel("fruit", "1.0"), backend(), own_sdist("old-one", "1.0"))
    own = wheel("own", "1.0")
    loader = LOADER.replace("import json, os, sys", "import json, os, sys, own, old_one, fruit")
    pip = [f"./code/{own.name}", "old-one", "fruit"]
    model = make_model(pip=pip, loader=loader, files={f"code/{own.name}": own.content})
    context = tmp_path / "context"
    done = cli("image", model, "--write-context", context, "--json", environ=image_environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["context"] == str(context)
    local_index.close()
    run_docker("build", "--network", "none", "--tag", "envbuild-test-context:1", context, DOCKER_BUILDKIT=buildkit)
    assert predicted("envbuild-test-context:1", REQUEST) == {"predictions": [2, 4]}
    labels = json.loads(run_docker("inspect", "envbuild-test-context:1").stdout)[0]["Config"]["Labels"]
    assert labels["envbuild.lock-hash"] == json.loads(done.stdout)["lock_hash"]
    assert shell("envbuild-test-context:1", "ls -A /build 2>/dev/null; command -v uv; true") == ""
    done = cli("verify", "envbuild-test-context:1", environ=image_environ)
    assert done.returncode == 0, done.stderr


def test_a_context_is_not_written_over_something(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "mine").write_text("kept")
    done = cli("image", make_model(), "--write-context", tmp_path / "context", environ=image_environ)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "context").iterdir()] == ["mine"]


def test_a_template_of_the_deployers_own_is_built_by_the_daemon(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    local_index.add(wheel("fruit", "1.0"))
    template = tmp_path / "Dockerfile"
    text = (REPO / "templates" / "Dockerfile").read_text()
    template.write_text(text.replace('CMD ["serve"]', 'CMD ["serve"]\nENV COMPANY=bank'))
    model = make_model(pip=["fruit"])
    usual = image(model, environ=image_environ)
    made = image(model, "--template", template, "--label", "team=scoring", environ=image_environ)
    assert made["environment"]["key"] != usual["environment"]["key"]
    assert predicted(made["image"], REQUEST) == {"predictions": [2, 4]}
    config = json.loads(run_docker("inspect", made["image"]).stdout)[0]["Config"]
    assert "COMPANY=bank" in config["Env"]
    assert config["Labels"]["team"] == "scoring"
    assert config["Labels"]["envbuild.model-digest"] == made["model_digest"]


def test_a_template_that_cannot_be_built_is_said_in_the_daemons_words(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], tmp_path: Path
) -> None:
    template = tmp_path / "Dockerfile"
    template.write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE} AS environment\nRUN exit 7\nFROM environment AS model\n")
    done = cli("image", make_model(), "--template", template, environ=image_environ)
    assert done.returncode == 5
    assert "error[image-failed]" in done.stderr
    assert "7" in done.stderr
    done = cli("image", make_model("other"), "--template", tmp_path / "nowhere", environ=image_environ)
    assert done.returncode == 2
