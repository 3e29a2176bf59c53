"""Which model is served, whether it fits its environment, and where temporary files go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import LOADER, SERVE, Server, here
from kit import AS_NOBODY
from tiny import write_model
from waiting import eventually

from envbuild.errors import EnvironmentDamaged, ModelNotFound
from envbuild.server.container.place import Place, Places, find, reasons_against, served
from envbuild.settings import Settings

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def places(environment: Path, tmp_path: Path) -> Places:
    return Places(environment=environment, own=tmp_path / "own", mounted=tmp_path / "mounted")


def test_a_mounted_model_goes_before_the_own_and_a_named_one_before_both(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(places.own)
    assert find(places).model.path == places.own
    write_model(places.mounted)
    assert find(places).model.path == places.mounted
    monkeypatch.setenv("ENVBUILD_MODEL", str(write_model(tmp_path / "named")))
    assert find(places).model.path == tmp_path / "named"


def test_a_mount_without_a_model_does_not_hide_the_own(places: Places) -> None:
    write_model(places.own)
    places.mounted.mkdir()
    assert find(places).model.path == places.own


def test_no_model_at_all_says_how_to_mount_one(places: Places) -> None:
    with pytest.raises(ModelNotFound) as caught:
        find(places)
    assert caught.value.hint is not None
    assert f"docker run -v /path/to/model:{places.mounted}:ro" in caught.value.hint


def test_a_named_model_that_is_not_there_is_not_replaced_by_another(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(places.own)
    monkeypatch.setenv("ENVBUILD_MODEL", str(tmp_path / "gone"))
    with pytest.raises(ModelNotFound, match="gone"):
        find(places)


def test_an_environment_that_is_not_complete_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "own")
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    with pytest.raises(EnvironmentDamaged):
        find(Places(environment=tmp_path / "environment", own=tmp_path / "own", mounted=tmp_path / "none"))


def test_the_version_is_the_environments_where_the_model_says_none(places: Places) -> None:
    write_model(places.own)
    assert served(find(places), Settings.from_environ({}, home=places.environment)).mlflow_version() is None
    write_model(places.own, more="mlflow_version: 1.2.0\n")
    place = find(places)
    assert served(place, Settings.from_environ({}, home=places.environment)).mlflow_version() == "1.2.0"


def mismatches(places: Places, **asked: object) -> tuple[str, ...]:
    write_model(places.mounted, python=HERE, **asked)  # type: ignore[arg-type]
    return reasons_against(find(places))


def test_a_mounted_model_that_the_environment_was_not_built_for_is_told_with_reasons(places: Places) -> None:
    assert mismatches(places) == ()
    (reason,) = mismatches(places, pip=["fruit==1.0"])
    assert "it lacks fruit==1.0" in reason
    (reason,) = mismatches(places, pip=["fruit=1.0"])
    assert "cannot be read" in reason


def test_the_models_own_environment_needs_no_check(places: Places) -> None:
    write_model(places.own, pip=["fruit==1.0"])
    place: Place = find(places)
    assert place.is_own
    assert reasons_against(place) == ()


def test_a_mounted_model_that_does_not_fit_is_served_with_a_warning(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    mounted = write_model(tmp_path / "mounted", python=HERE, loader=LOADER, pip=["fruit==1.0"])
    server = serve(mounted=mounted)
    assert server.predict("echo").predictions == ["echo"]
    assert "warning[model-does-not-fit]" in server.stderr
    assert "it lacks fruit==1.0" in server.stderr


def test_no_model_ends_the_server_with_a_message(
    start: Callable[..., Server], environment: Path, tmp_path: Path
) -> None:
    server = start(here(environment, tmp_path / "nothing", *SERVE))
    assert server.wait() == 3
    assert server.stderr.startswith("error[model-not-found]: there is no model")
    assert "\n  hint: mount one: docker run -v " in server.stderr


def read_only(*commands: str) -> list[str]:
    """Runs what follows where the root file system cannot be written; other mounts are as the commands make them."""
    script = " && ".join(["mount -o remount,ro,bind /", *commands, 'exec "$@"'])
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


def test_on_a_read_only_root_the_first_place_that_can_be_written_is_used(
    start: Callable[..., Server], environment: Path, model: Path
) -> None:
    argv = [*read_only("mount -t tmpfs tmpfs /dev/shm"), *here(environment, model, *SERVE)]
    server = start(argv)
    assert server.predict("tmpdir").predictions.startswith("/dev/shm/envbuild-worker-")


def test_on_a_read_only_root_a_user_without_privileges_is_served_too(
    start: Callable[..., Server], environment: Path, model: Path
) -> None:
    argv = [*read_only("mount -t tmpfs -o mode=1777 tmpfs /dev/shm"), *AS_NOBODY, *here(environment, model, *SERVE)]
    server = start(argv)
    assert server.predict("echo").predictions == ["echo"]
    server.process.terminate()
    assert server.wait() == 0


def test_with_nothing_that_can_be_written_the_error_says_what_to_mount(
    start: Callable[..., Server], environment: Path, model: Path
) -> None:
    argv = [*read_only("mount -t tmpfs -o ro tmpfs /dev/shm"), *here(environment, model, *SERVE)]
    server = start(argv)
    assert server.wait() == 2
    assert "error[usage]: no temporary directory can be written" in server.stderr
    assert "--tmpfs /tmp" in server.stderr


def test_tmpdir_is_used_where_it_can_be_written_and_passed_over_where_not(
    start: Callable[..., Server], environment: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for named, found in (("mine", str(tmp_path / "mine")), ("missing", "/tmp")):
        server = start(here(environment, model, *SERVE), variables={"TMPDIR": str(tmp_path / named)})
        assert server.predict("tmpdir").predictions.startswith(f"{found}/envbuild-worker-")
        server.process.terminate()
        assert server.wait() == 0
    eventually(lambda: not list((tmp_path / "mine").iterdir()), "nothing is left behind")
