"""Every setting, from the environment and by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from envbuild.errors import UsageError
from envbuild.settings import Settings

HOME = Path("/srv/envbuild")
FROM_VARIABLES: list[tuple[str, str, Any]] = [
    ("home", "/srv/other", Path("/srv/other")),
    ("engine", "uv", "uv"),
    ("index_url", "https://i.invalid/simple", "https://i.invalid/simple"),
    ("extra_index_url", "https://a.invalid  https://b.invalid\n", ("https://a.invalid", "https://b.invalid")),
    ("find_links", "/wheels", ("/wheels",)),
    ("model_indexes", "deny", "deny"),
    ("index_strategy", "best-match", "best-match"),
    ("keyring_provider", "subprocess", "subprocess"),
    ("index_ca", "/srv/ca.pem", Path("/srv/ca.pem")),
    ("index_client_cert", "/srv/me.pem", Path("/srv/me.pem")),
    ("index_token_command", "token --for '{host}'", "token --for '{host}'"),
    ("expand", "TOKEN USER_NAME", ("TOKEN", "USER_NAME")),
    ("as_of", "2021-04-30", "2021-04-30"),
    ("python", "3.9", "3.9"),
    ("set", "pandas==1.5.3 numpy<2", ("pandas==1.5.3", "numpy<2")),
    ("add", "boto3", ("boto3",)),
    ("remove", "mkl", ("mkl",)),
    ("constraint", "/srv/a.txt /srv/b.txt", (Path("/srv/a.txt"), Path("/srv/b.txt"))),
    ("requirements", "/srv/all.txt", (Path("/srv/all.txt"),)),
    ("conda_env", "/srv/conda.yaml", Path("/srv/conda.yaml")),
    ("only_binary", ":all:", (":all:",)),
    ("no_binary", "numpy", ("numpy",)),
    ("override", "/srv/override.yaml", Path("/srv/override.yaml")),
    ("environment", "sklearn:1", "sklearn:1"),
    ("environments", "/srv/environments", "/srv/environments"),
    ("accelerator", "cpu", "cpu"),
    ("torch_index", "https://i.invalid/whl", "https://i.invalid/whl"),
    ("conda_packages", "conda", "conda"),
    (
        "conda_mirror",
        "defaults=https://c.invalid/main https://c.invalid/x?a=b=file:///srv/x",
        (("defaults", "https://c.invalid/main"), ("https://c.invalid/x?a=b", "file:///srv/x")),
    ),
    ("link_scripts", "1", True),
    ("virtual_package", "__cuda=11.2 __glibc=2.17", (("__cuda", "11.2"), ("__glibc", "2.17"))),
    ("python_source", "conda", "conda"),
    ("python_policy", "exact", "exact"),
    ("python_downloads", "0", False),
    ("repair", "none", "none"),
    ("allow_repair", "double-pin nearest-release", ("double-pin", "nearest-release")),
    ("deny_repair", "wheels-first", ("wheels-first",)),
    ("no_build", "1", True),
    ("lock", "/srv/pylock.toml", Path("/srv/pylock.toml")),
    ("bundle", "/srv/model.bundle", Path("/srv/model.bundle")),
    ("require_signature", "/srv/key.pem", Path("/srv/key.pem")),
    ("locked", "yes", True),
    ("update", "TRUE", True),
    ("offline", "on", True),
    ("lock_timeout", "1.5", 1.5),
    ("build_timeout", "60", 60.0),
    ("load_timeout", "60", 60.0),
    ("predict_timeout", "60", 60.0),
    ("idle_timeout", "90", 90.0),
    ("max_memory", "2GiB", 2 * 2**30),
    ("max_output", "500MB", 500_000_000),
    ("no_network", "1", True),
    ("read_only", "yes", True),
    ("no_enforce", "on", True),
    ("pass_env", "A_TOKEN OTHER", ("A_TOKEN", "OTHER")),
    ("set_env", "A=1 B=x=y EMPTY=", (("A", "1"), ("B", "x=y"), ("EMPTY", ""))),
    ("nan", "string", "string"),
    ("loader", "direct", "direct"),
    ("workers", "2", 2),
    ("keep_warm", "10m", 600.0),
    ("link_mode", "copy", "copy"),
    ("parallel", "3", 3),
    ("retry", "1", True),
    ("failure_memory", "5", 5.0),
    ("max_size", "20GB", 20_000_000_000),
    ("shared", "1", True),
    ("base_image", "python:3.8-slim", "python:3.8-slim"),
    ("server_python", "3.13", "3.13"),
    ("build_network", "host", "host"),
    ("env_repository", "registry.example/env", "registry.example/env"),
]


@pytest.mark.parametrize(("name", "text", "value"), FROM_VARIABLES, ids=[row[0] for row in FROM_VARIABLES])
def test_a_setting_is_read_from_its_variable(name: str, text: str, value: object) -> None:
    settings = Settings.from_environ({"ENVBUILD_HOME": str(HOME), f"ENVBUILD_{name.upper()}": text})
    assert getattr(settings, name) == value


def test_a_bundle_means_no_network() -> None:
    assert Settings.from_environ({"ENVBUILD_HOME": str(HOME), "ENVBUILD_BUNDLE": "/srv/model.bundle"}).offline
    assert Settings.from_environ({"ENVBUILD_HOME": str(HOME), "ENVBUILD_OFFLINE": "0"}, bundle="model.bundle").offline
    assert not Settings.from_environ({"ENVBUILD_HOME": str(HOME)}).offline


def test_every_setting_has_a_variable_that_is_tested() -> None:
    assert {row[0] for row in FROM_VARIABLES} == {field.name for field in fields(Settings)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("engine", "npm"),
        ("model_indexes", "some"),
        ("index_strategy", "unsafe-first-match"),
        ("keyring_provider", "import"),
        ("index_token_command", "'unclosed"),
        ("index_token_command", "  "),
        ("index_url", "corp=https://[broken/simple"),
        ("python_policy", "newest"),
        ("python_source", "winget"),
        ("conda_packages", "some"),
        ("conda_mirror", "conda-forge"),
        ("virtual_package", "cuda=11"),
        ("virtual_package", "__cuda"),
        ("nan", "zero"),
        ("repair", "some"),
        ("offline", "perhaps"),
        ("python_downloads", "2"),
        ("no_build", "-"),
        ("locked", "y e s"),
        ("update", "None"),
        ("link_mode", "symlink"),
        ("parallel", "0"),
        ("parallel", "many"),
        ("max_size", "20 parsecs"),
        ("max_size", "-1"),
        ("max_size", "1i"),
        ("failure_memory", "0"),
        ("lock_timeout", "soon"),
        ("build_timeout", "0"),
        ("load_timeout", "-1"),
        ("predict_timeout", "nan"),
        ("idle_timeout", "0"),
        ("loader", "pickle"),
        ("workers", "0"),
        ("keep_warm", "0m"),
        ("keep_warm", "soon"),
        ("max_memory", "0"),
        ("max_memory", "lots"),
        ("max_output", "0"),
        ("no_network", "perhaps"),
        ("read_only", "2"),
        ("no_enforce", "-"),
        ("pass_env", "NAME=VALUE"),
        ("pass_env", "1ST"),
        ("pass_env", "HOME"),
        ("pass_env", "PYTHONPATH"),
        ("set_env", "NAME"),
        ("set_env", "1ST=x"),
        ("set_env", "=x"),
        ("set_env", "TMPDIR=/tmp"),
        ("set_env", "VIRTUAL_ENV=/srv"),
        ("set_env", "PYTHONHASHSEED=0"),
        ("home", "  "),
        ("home", "~nobody-of-this-name/x"),
        ("lock", " "),
        ("index_url", "https://[broken/simple"),
        ("extra_index_url", "https://i.invalid/simple https://[broken/simple"),
        ("find_links", "https://[broken"),
    ],
)
def test_a_variable_that_cannot_be_understood_is_a_usage_error_that_names_it(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"ENVBUILD_{name.upper()}") as caught:
        Settings.from_environ({"ENVBUILD_HOME": str(HOME), f"ENVBUILD_{name.upper()}": text})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine", "npm"),
        ("offline", "no"),
        ("locked", 1),
        ("expand", "TOKEN"),
        ("find_links", "/wheels"),
        ("lock_timeout", "x"),
        ("nan", 3),
        ("pass_env", "A_TOKEN"),
        ("set_env", "A=1"),
        ("max_memory", True),
        ("no_such_setting", 1),
    ],
)
def test_a_value_given_by_name_that_is_none_is_a_usage_error(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        Settings.from_environ({"ENVBUILD_HOME": str(HOME)}, **{name: value})


def test_what_is_given_wins_over_variables_and_none_and_empty_variables_decide_nothing() -> None:
    environ = {"ENVBUILD_HOME": str(HOME), "ENVBUILD_AS_OF": "now", "ENVBUILD_NAN": "", "ENVBUILD_PYTHON": "3.9"}
    settings = Settings.from_environ(environ, as_of="2021-01-01", python=None, expand=["A"])
    assert (settings.as_of, settings.python, settings.nan, settings.expand) == ("2021-01-01", "3.9", "null", ("A",))


def test_the_process_environment_is_the_default_and_the_platforms_cache_is_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ENVBUILD_HOME", raising=False)
    monkeypatch.setenv("ENVBUILD_AS_OF", "now")
    settings = Settings.from_environ()
    assert settings.as_of == "now"
    assert settings.home == platformdirs.user_cache_path("envbuild")


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/srv/user")
    settings = Settings.from_environ({"ENVBUILD_HOME": "~/store"}, lock="pylock.toml")
    assert (settings.home, settings.lock) == (Path("/srv/user/store"), tmp_path / "pylock.toml")


def test_settings_are_frozen_and_having_changes_a_copy() -> None:
    settings = Settings(home=HOME)
    assert settings.having(offline=True, python=None) == Settings(home=HOME, offline=True)
    assert settings.offline is False
    with pytest.raises(AttributeError):
        settings.offline = True  # type: ignore[misc]


@pytest.mark.parametrize(
    "given", ["https://me:canary@host.invalid/c.txt", Path("https://me:canary@host.invalid/c.txt")]
)
def test_a_url_for_a_path_is_refused_without_showing_it(given: str | Path) -> None:
    with pytest.raises(UsageError, match="a path on this machine is wanted") as raised:
        Settings.from_environ({"ENVBUILD_HOME": str(HOME)}, constraint=(given,))
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("given", [{"A": "1", "B": "x y"}, ["A=1", "B=x y"], [("A", "1"), ("B", "x y")]])
def test_variables_for_the_model_are_a_mapping_or_pairs_or_texts(given: Any) -> None:
    settings = Settings.from_environ({"ENVBUILD_HOME": str(HOME)}, set_env=given)
    assert settings.set_env == (("A", "1"), ("B", "x y"))


def test_a_variable_for_the_model_is_in_no_message_and_not_shown_with_the_settings() -> None:
    settings = Settings.from_environ({"ENVBUILD_HOME": str(HOME), "ENVBUILD_SET_ENV": "A=canary-77"})
    assert "canary-77" not in repr(settings)
    for name, text in (("PASS_ENV", "A=canary-77"), ("SET_ENV", "HOME=canary-77"), ("SET_ENV", "canary-77")):
        with pytest.raises(UsageError) as caught:
            Settings.from_environ({"ENVBUILD_HOME": str(HOME), f"ENVBUILD_{name}": text})
        assert "canary-77" not in str(caught.value.to_dict())
