"""One bundle for several machines: each finds its lock, and what has no wheel for one of them is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import cli
from local_index import LocalIndex
from made import HERE, Made, answer_of, code_of, offline
from tiny import backend, own_sdist, wheel

from envbuild.bundles.importing import imported
from envbuild.errors import BundleIncomplete
from envbuild.settings import Settings
from envbuild.target import Target, here

TAG = f"cp{HERE.replace('.', '')}"
MakeModel = Callable[..., Path]
LOADER = """
import berry

class Version:
    def predict(self, data):
        return berry.version

def _load_pyfunc(path):
    return Version()
"""


@pytest.fixture
def several(make_model: MakeModel, local_index: LocalIndex, home: Path) -> Made:
    """A model whose one package has wheels for three kinds of machines, each of which says which one it is."""
    for platform in ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_aarch64"):
        modules = {"berry.py": f"version = {platform!r}\n"}
        local_index.add(wheel("berry", "1.0", modules=modules, tag=f"{TAG}-{TAG}-{platform}"))
    model = make_model(pip=["berry"], python=HERE, loader=LOADER)
    (model.parent / "in.json").write_text('{"inputs": [1]}')
    return Made(bundle=model.parent / "m.bundle", model=model, home=home, index=local_index, lock_hash="")


def export(made: Made, *platforms: str) -> None:
    words = ["--update", *(word for platform in platforms for word in ("--platform", platform))]
    done = cli("bundle", "export", made.model, "-o", made.bundle, *words, environ=made.environ())
    assert done.returncode == 0, done.stderr


def lock_for(made: Made, target: Target) -> str:
    settings = Settings.from_environ({}, home=made.home, bundle=made.bundle)
    return imported(settings).lock_for(target).name


def test_a_machine_takes_the_newest_of_the_locks_that_it_installs(several: Made, tmp_path: Path) -> None:
    export(several, "linux/arm64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "linux/arm64")
    done = cli("bundle", "inspect", several.bundle, "--json", environ=several.environ())
    locks = answer_of(done)["manifest"]["locks"]
    assert [one["platform"] for one in locks] == sorted(
        ["manylinux_2_28_aarch64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"]
    )
    for platform, chosen in (
        ("manylinux_2_36_x86_64", "manylinux_2_28_x86_64"),
        ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64"),
        ("manylinux_2_27_x86_64", "manylinux_2_17_x86_64"),
        ("manylinux_2_40_aarch64", "manylinux_2_28_aarch64"),
    ):
        assert lock_for(several, Target(TAG, platform)) == f"pylock.{TAG}-{chosen}.toml"
    answer = answer_of(offline(tmp_path / "empty", "predict", several.bundle, several.input))
    assert answer == {"predictions": "manylinux_2_28_x86_64"}


def test_a_machine_that_it_has_no_lock_for_is_told_which_ones_it_has(several: Made, tmp_path: Path) -> None:
    export(several, "linux/arm64", "manylinux_2_35_aarch64")
    done = offline(tmp_path / "empty", "predict", several.bundle, several.input)
    assert code_of(done) == "bundle-incomplete"
    assert f"{TAG}-manylinux_2_28_aarch64, {TAG}-manylinux_2_35_aarch64" in done.stderr
    with pytest.raises(BundleIncomplete, match="manylinux_2_17_aarch64"):
        lock_for(several, Target(TAG, "manylinux_2_17_aarch64"))


def test_an_sdist_is_built_for_this_machine_alone(several: Made, tmp_path: Path) -> None:
    several.index.add(own_sdist("seed", "1.0"), backend())
    text = (several.model / "conda.yaml").read_text()
    (several.model / "conda.yaml").write_text(text.replace('"berry"', '"berry"\n  - "seed"'))
    done = cli(
        "bundle", "export", several.model, "-o", several.bundle, "--platform", "linux/arm64", environ=several.environ()
    )
    assert code_of(done) == "bundle-incomplete"
    assert "seed" in done.stderr
    assert "berry" not in done.stderr
    assert not several.bundle.exists()
    # Beside another's, this machine's own: named as it names itself.
    several.index.add(wheel("seed", "1.0", tag=f"{TAG}-{TAG}-manylinux_2_17_aarch64"))
    export(several, "linux/arm64", here(HERE).platform)
    answer = answer_of(offline(tmp_path / "empty", "predict", several.bundle, several.input))
    assert answer == {"predictions": "manylinux_2_28_x86_64"}


def test_a_platform_that_is_none_is_refused(several: Made) -> None:
    done = cli("bundle", "export", several.model, "-o", several.bundle, "--platform", "vax", environ=several.environ())
    assert code_of(done) == "usage"
