"""Which build of torch and tensorflow: a GPU's gigabytes only where there is a GPU, or where they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import Kit, codes, run_python, versions
from local_index import LocalIndex
from tiny import wheel

from envbuild import accelerator
from envbuild.errors import IndexUnreachable, Unresolvable

MakeModel = Callable[..., Path]


@pytest.fixture
def pytorch(make_index: Callable[[], LocalIndex]) -> LocalIndex:
    """Builds of torch as PyTorch keeps them: a folder each, without upload times."""
    index = make_index().add(*(wheel(name, f"1.0+{build}") for name in FAMILY for build in ("cpu", "cu118")))
    index.folders, index.upload_times = {"cpu", "cu118"}, False
    return index


FAMILY = ("torch", "torchvision")


@pytest.fixture
def kit(kit: Kit, pytorch: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """On the index, torch for a GPU alone; this machine has none."""
    monkeypatch.setattr(accelerator, "has_gpu", lambda: False)
    kit.index.add(wheel("nvidia-blas", "1"), wheel("torch", "1.0", requires=["nvidia-blas"]))
    kit.index.add(wheel("torchvision", "1.0", requires=["torch==1.0"]), wheel("torch", "0.9"))
    kit.more["torch_index"] = pytorch.root
    return kit


def test_without_a_gpu_the_build_for_the_processor_is_taken_and_installed(kit: Kit, make_model: MakeModel) -> None:
    built = kit.build(make_model(pip=["torchvision", "torch==1.0"]))
    assert versions(built.locked) == {"torch": "1.0+cpu", "torchvision": "1.0+cpu"}
    (notice,) = [one for one in built.notices if one.code == "accelerator"]
    assert "torch==1.0+cpu" in notice.message
    assert "no GPU here" in notice.message
    assert run_python(built.environment.path, "import torch; print(torch.version)") == "1.0+cpu"


def test_a_sibling_that_has_no_build_of_its_own_is_left_as_it_is(
    kit: Kit, make_model: MakeModel, pytorch: LocalIndex
) -> None:
    pytorch.files = [file for file in pytorch.files if file.project == "torch"]
    pytorch.absent = 403
    assert versions(kit.lock(make_model(pip=["torchvision"]))) == {"torch": "1.0+cpu", "torchvision": "1.0"}


def test_with_a_gpu_what_the_index_has_is_taken(
    kit: Kit, make_model: MakeModel, pytorch: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "has_gpu", lambda: True)
    assert versions(kit.lock(make_model(pip=["torch==1.0"]))) == {"torch": "1.0", "nvidia-blas": "1"}
    assert pytorch.requests == []


def test_a_lock_with_a_gpu_does_not_answer_where_there_is_none(
    kit: Kit, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(pip=["torch==1.0"])
    assert versions(kit.lock(model))["torch"] == "1.0+cpu"
    monkeypatch.setattr(accelerator, "has_gpu", lambda: True)
    assert versions(kit.lock(model))["torch"] == "1.0"


def test_a_torch_that_brings_no_gpu_is_left_and_nobody_is_asked(
    kit: Kit, make_model: MakeModel, pytorch: LocalIndex
) -> None:
    assert versions(kit.lock(make_model(pip=["torch==0.9"]))) == {"torch": "0.9"}
    assert pytorch.requests == []


def test_where_no_build_is_offered_the_gpus_is_taken_and_said(
    kit: Kit, make_model: MakeModel, pytorch: LocalIndex
) -> None:
    pytorch.files.clear()
    locked = kit.lock(make_model(pip=["torch==1.0"]))
    assert versions(locked)["torch"] == "1.0"
    assert "accelerator-unavailable" in codes(locked)
    pytorch.close()
    away = kit.lock(make_model(pip=["torch==1.0"]), update=True)
    (notice,) = [one for one in away.notices if one.code == "accelerator-unavailable"]
    assert "does not answer" in notice.message


def test_a_build_that_is_named_is_taken_or_it_is_an_error(kit: Kit, make_model: MakeModel, pytorch: LocalIndex) -> None:
    model = make_model(pip=["torch==1.0"])
    assert versions(kit.lock(model, accelerator="cu118")) == {"torch": "1.0+cu118"}
    with pytest.raises(Unresolvable, match=r"there is no torch 1.0\+cu121"):
        kit.lock(model, accelerator="cu121")
    assert versions(kit.lock(make_model("old", pip=["torch"]), accelerator="cpu")) == {"torch": "1.0+cpu"}
    pytorch.close()
    with pytest.raises(IndexUnreachable, match="does not answer"):
        kit.lock(model, accelerator="cpu", update=True)


def test_a_build_that_is_named_for_nothing_is_said(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("jam", "1"))
    locked = kit.lock(make_model(pip=["jam"]), accelerator="cpu")
    (notice,) = [one for one in locked.notices if one.code == "override-unused"]
    assert notice.message == "--accelerator cpu changes nothing: the environment has no torch"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("asked", "setting", "wanted"),
    [
        ("tensorflow==2.1", "auto", {"tensorflow": "2.1"}),
        ("tensorflow==2.1", "cpu", {"tensorflow-cpu": "2.1"}),
        ("tensorflow==2.0", "cpu", {"tensorflow": "2.0"}),
        ("tensorflow-gpu==2.1", "auto", {"tensorflow": "2.1"}),
        ("tensorflow[and-cuda]==2.1", "auto", {"tensorflow": "2.1"}),
        ("tensorflow[and-cuda]==2.1", "cu118", {"tensorflow": "2.1", "nvidia-blas": "1"}),
    ],
)
def test_tensorflow_comes_without_a_gpus_libraries(
    kit: Kit, make_model: MakeModel, asked: str, setting: str, wanted: dict[str, str]
) -> None:
    cuda = {"and-cuda": ["nvidia-blas"]}
    kit.index.add(*(wheel("tensorflow", version, extras=cuda) for version in ("2.0", "2.1")))
    kit.index.add(wheel("tensorflow-cpu", "2.1"), wheel("tensorflow-gpu", "2.1", requires=["nvidia-blas"]))
    locked = kit.lock(make_model(pip=[asked]), accelerator=setting)
    assert versions(locked) == wanted
    changed = asked.split("==", maxsplit=1)[0] not in wanted
    assert ("accelerator" in codes(locked)) == (changed and setting != "cu118")


def test_the_folder_of_the_builds_is_in_the_lock_without_its_login(
    kit: Kit, make_model: MakeModel, pytorch: LocalIndex
) -> None:
    pytorch.login = ("me", "canary-9")
    kit.more["torch_index"] = pytorch.with_login("me", "canary-9").removesuffix("/simple")
    built = kit.build(make_model(pip=["torch==1.0"]))
    assert f"{pytorch.root}/cpu/torch/" in built.locked.lock.origin.indexes
    assert "canary-9" not in json.dumps(built.locked.lock.origin.indexes)
