"""`envbuild diff` with images: the lock in them is read, and nothing is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import cli
from local_index import LocalIndex
from stand_ins import run_docker
from tiny import wheel

MakeModel = Callable[..., Path]


@pytest.mark.slow
def test_images_are_compared_with_models_and_with_each_other(
    make_model: MakeModel, local_index: LocalIndex, image_environ: dict[str, str], base: str
) -> None:
    local_index.add(wheel("fruit", "1.0"), wheel("fruit", "2.0"), wheel("tea", "1.0"))
    old, new = make_model("old", pip=["fruit==1.0"]), make_model("new", pip=["fruit==2.0", "tea"])
    made = []
    for model in (old, new):
        done = cli("image", model, "--json", environ=image_environ)
        assert done.returncode == 0, done.stderr
        made.append(json.loads(done.stdout))
    containers = run_docker("ps", "--all", "--quiet").stdout
    between = cli("diff", made[0]["image"], made[1]["image"], "--json", environ=image_environ)
    assert between.returncode == 10, between.stderr
    found = json.loads(between.stdout)
    assert [one["name"] for one in found["added"]] == ["tea"]
    assert [one["after"]["version"] for one in found["changed"]] == ["2.0"]
    assert found["a"]["lock_hash"] == made[0]["lock_hash"]
    assert found["a"]["kind"] == "image"
    with_model = cli("diff", made[0]["image"], new, environ=image_environ)
    assert with_model.returncode == 10, with_model.stderr
    assert "~ fruit  1.0 -> 2.0" in with_model.stdout
    # The image of the environment alone holds the same lock.
    alone = cli("diff", made[1]["environment"]["image"], made[1]["image"], environ=image_environ)
    assert (alone.returncode, alone.stdout[:14]) == (0, "no difference:")
    assert run_docker("ps", "--all", "--quiet").stdout == containers
    for reference, code, said in (
        ("envbuild-test-no-such", 2, "has no image of that name"),
        ("No/Such:Name", 2, "no image's name"),
        (base, 5, "envbuild has not made it"),
    ):
        none = cli("diff", reference, new, environ=image_environ)
        assert none.returncode == code, none.stderr
        assert said in none.stderr
    away = cli("diff", "envbuild-test-no-such", new, environ={**image_environ, "DOCKER_HOST": "unix:///nowhere.sock"})
    assert away.returncode == 5
    assert "is nothing on this disk, and may be an image" in away.stderr
