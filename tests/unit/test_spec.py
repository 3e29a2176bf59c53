"""What a model asks for: which source wins, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import (
    ERA_MODELS,
    MODELS,
    PLAIN,
    WITH_BOTH,
    WITH_CONDA,
    asked_for,
    codes,
    pip_list,
    spec_of,
    write,
)

from envbuild.errors import EnvbuildError, SpecError
from envbuild.model import read_model
from envbuild.spec import EnvironmentSpec, digest_of, read_spec

MLFLOW_LOADER = PLAIN.replace("own.loader", "mlflow.sklearn")
VERSION_2_1_1 = "mlflow_version: 2.1.1\n"


# Python


def python_of(folder: Path, *, env: str | None = None, conda: str | None = None, said: str | None = None) -> str:
    spec = python_spec(folder, env=env, conda=conda, said=said)
    return f"{spec.python.text} of {spec.python.source}"


def python_spec(
    folder: Path, *, env: str | None = None, conda: str | None = None, said: str | None = None
) -> EnvironmentSpec:
    files = {}
    if env is not None:
        files["python_env.yaml"] = f"python: {env}\n"
    if conda is not None:
        files["conda.yaml"] = f"dependencies:\n- {conda}\n"
    mlmodel = WITH_BOTH if said is None else f"{WITH_BOTH}    python_version: {said}\n"
    return spec_of(folder, mlmodel, files)


def test_python_env_yaml_decides_python_then_conda_yaml_then_mlmodel_then_the_date(tmp_path: Path) -> None:
    assert python_of(tmp_path / "1", env="3.8.1", conda="python=3.8.2", said="3.8.3") == "3.8.1 of python_env.yaml"
    assert python_of(tmp_path / "2", conda="python=3.8.2", said="3.8.3") == "3.8.2 of conda.yaml"
    assert python_of(tmp_path / "3", said="3.8.3") == "3.8.3 of MLmodel"
    assert python_of(tmp_path / "4") == "3.7 of inferred"


def test_each_python_that_loses_is_a_notice_at_its_line(tmp_path: Path) -> None:
    spec = python_spec(tmp_path, env="3.8.1", conda="python=3.8.2", said="3.7.3")
    found = [notice for notice in spec.notices if notice.code == "python-disagrees"]
    assert [str(notice.place) for notice in found] == [f"{tmp_path}/conda.yaml:2", f"{tmp_path}/MLmodel:8"]
    assert all("3.8.1" in notice.message for notice in found)


@pytest.mark.parametrize("conda", ["python=3.8.1", "python=3.8", "python>=3.6", "python"])
def test_a_python_that_holds_the_winner_is_no_disagreement(tmp_path: Path, conda: str) -> None:
    spec = python_spec(tmp_path, env="3.8.1", conda=conda)
    assert spec.python.text == "3.8.1"
    assert codes(spec.notices) == []


@pytest.mark.parametrize(
    ("conda", "said", "expected"),
    [
        ("python>=3.8", "3.9.7", "3.9.7 of conda.yaml"),
        ("python=3.8", "3.8.12", "3.8.12 of conda.yaml"),
        ("python>=3.8,<3.9", "3.9.7", "3.8 of conda.yaml"),
        ("python>=3.8", None, "3.8 of conda.yaml"),
        ("python>=3.6", None, "3.7 of conda.yaml"),
        ("python=3", None, "3.7 of conda.yaml"),
        ("python", "3.9.7", "3.9.7 of MLmodel"),
        ("python 3.8.5", None, "3.8.5 of conda.yaml"),
        ("python==3.8.5", None, "3.8.5 of conda.yaml"),
        ("conda-forge::python=3.8.5=h1_0_cpython", None, "3.8.5 of conda.yaml"),
        ("python=3.8.*", None, "3.8 of conda.yaml"),
        ("python=3.8*", None, "3.8 of conda.yaml"),
        ("python=3.10", None, "3.10 of conda.yaml"),
        ("python=2.7.15", None, "2.7.15 of conda.yaml"),
    ],
)
def test_a_range_gives_way_to_an_exact_version_that_lies_in_it(
    tmp_path: Path, conda: str, said: str | None, expected: str
) -> None:
    assert python_of(tmp_path, conda=conda, said=said) == expected


@pytest.mark.parametrize(("written", "expected"), [("3.10", "3.10"), ("'3.10'", "3.10"), ("3.8.10+", "3.8.10")])
def test_a_python_is_taken_as_it_is_written(tmp_path: Path, written: str, expected: str) -> None:
    assert python_of(tmp_path, env=written) == f"{expected} of python_env.yaml"


@pytest.mark.parametrize("written", ["{a: b}", "[3.8]", "''", "snake", "'===x'"])
def test_a_python_that_is_none_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(SpecError) as caught:
        python_of(tmp_path, env=written)
    assert str(caught.value.place) == f"{tmp_path}/python_env.yaml:1"


@pytest.mark.parametrize(
    ("year", "python"), [("2018-06", "3.6"), ("2020-06", "3.7"), ("2022-06", "3.8"), ("2024-06", "3.10")]
)
def test_a_model_that_says_no_python_gets_the_one_usual_in_its_day_and_that_is_said(
    tmp_path: Path, year: str, python: str
) -> None:
    spec = spec_of(tmp_path, PLAIN.replace("2021-06", year))
    assert spec.python.text == python
    assert codes(spec.notices) == ["python-inferred"]


# pip's requirements


def test_the_lines_of_python_env_yaml_win_over_conda_yaml_and_each_disagreement_is_said(tmp_path: Path) -> None:
    files = {
        "python_env.yaml": "python: 3.8.5\ndependencies:\n- -r requirements.txt\n",
        "requirements.txt": "numpy==1.19.5\nsix==1.16.0\n",
        "conda.yaml": pip_list("numpy==1.18.0", "scipy==1.5.4", "six==1.16.0"),
    }
    spec = spec_of(tmp_path, WITH_BOTH, files)
    assert asked_for(spec) == ["numpy==1.19.5", "six==1.16.0"]
    found = {notice.message.split()[0]: notice for notice in spec.notices if notice.code == "requirement-disagrees"}
    assert set(found) == {"numpy==1.18.0", "scipy==1.5.4"}
    assert str(found["numpy==1.18.0"].place) == f"{tmp_path}/conda.yaml:4"
    assert "requirements.txt:1" in found["numpy==1.18.0"].message
    assert "not installed" in found["scipy==1.5.4"].message


def test_conda_yamls_pip_list_wins_over_a_lone_requirements_txt(tmp_path: Path) -> None:
    files = {"conda.yaml": pip_list("numpy==1.18.0"), "requirements.txt": "numpy==1.19.5\n"}
    spec = spec_of(tmp_path, WITH_CONDA, files)
    assert asked_for(spec) == ["numpy==1.18.0"]
    assert codes(spec.notices) == ["requirement-disagrees"]


def test_a_lone_requirements_txt_counts_where_nothing_else_does(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PLAIN, {"requirements.txt": "numpy==1.19.5\n"})
    assert asked_for(spec) == ["numpy==1.19.5"]


def test_files_that_agree_give_no_notice() -> None:
    for path in ERA_MODELS:
        assert "requirement-disagrees" not in codes(read_spec(read_model(path)).notices), path


def test_python_env_yaml_may_list_requirements_itself(tmp_path: Path) -> None:
    files = {"python_env.yaml": "python: 3.8.5\ndependencies:\n- numpy==1.19.5\n"}
    spec = spec_of(tmp_path, WITH_BOTH, files)
    assert asked_for(spec) == ["numpy==1.19.5"]


def test_a_file_that_is_named_and_missing_is_a_notice_and_the_next_source_counts(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, WITH_BOTH, {"requirements.txt": "six\n"})
    assert [notice.message.split()[2].rstrip(",") for notice in spec.notices if notice.code == "file-missing"] == [
        "python_env.yaml",
        "conda.yaml",
    ]
    assert asked_for(spec) == ["six"]


def test_an_include_that_is_missing_is_a_notice(tmp_path: Path) -> None:
    files = {"python_env.yaml": "python: 3.8.5\ndependencies:\n- -r requirements.txt\n- six\n"}
    spec = spec_of(tmp_path, WITH_BOTH, files)
    assert [str(n.place) for n in spec.notices if n.code == "file-missing"][-1] == f"{tmp_path}/python_env.yaml:3"
    assert asked_for(spec) == ["six"]


def test_files_under_their_usual_names_count_though_nobody_names_them(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PLAIN, {"conda.yaml": pip_list("six==1.16.0")})
    assert (spec.python.text, asked_for(spec)) == ("3.8.5", ["six==1.16.0"])


def test_every_demand_remembers_its_file_and_line(tmp_path: Path) -> None:
    files = {
        "python_env.yaml": "python: 3.8.5\nbuild_dependencies:\n- pip==22.3\ndependencies:\n- -r requirements.txt\n",
        "requirements.txt": "# numbers\n\nnumpy==1.19.5\n-r more.txt\n",
        "more.txt": "\nsix\n",
        "conda.yaml": "dependencies:\n- python=3.8.5\n- scipy=1.5.4\n",
    }
    spec = spec_of(tmp_path, WITH_BOTH + VERSION_2_1_1, files)
    places = {demand.text: (str(demand.place), demand.origin) for demand in spec.demands}
    assert places == {
        "numpy==1.19.5": (f"{tmp_path}/requirements.txt:3", "pip"),
        "six": (f"{tmp_path}/more.txt:2", "pip"),
        "scipy==1.5.4": (f"{tmp_path}/conda.yaml:3", "conda"),
        "pip==22.3": (f"{tmp_path}/python_env.yaml:3", "build"),
    }
    assert str(spec.python.place) == f"{tmp_path}/python_env.yaml:1"


# Build dependencies


def test_build_dependencies_with_their_pins_belong_to_the_environment() -> None:
    spec = read_spec(read_model(MODELS / "py38_mlflow2_1" / "heart"))
    assert [d.text for d in spec.demands if d.origin == "build"] == ["pip", "setuptools==65.7.0", "wheel"]


def test_without_build_dependencies_pip_setuptools_and_wheel_are_there_all_the_same(tmp_path: Path) -> None:
    assert asked_for(spec_of(tmp_path), built=True) == ["pip", "setuptools", "wheel"]


def test_a_build_dependency_that_the_requirements_name_is_theirs(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PLAIN, {"requirements.txt": "setuptools==58.0.0\n"})
    assert asked_for(spec, built=True) == ["setuptools==58.0.0", "pip", "wheel"]


# conda packages


def conda_spec(folder: Path, *entries: str) -> EnvironmentSpec:
    listed = "".join(f"- {entry}\n" for entry in ("python=3.8.5", *entries))
    return spec_of(folder, WITH_CONDA, {"conda.yaml": f"dependencies:\n{listed}"})


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("scikit-learn=0.21.3", "scikit-learn==0.21.3"),
        ("scikit-learn==0.21.3", "scikit-learn==0.21.3"),
        ("scikit-learn=0.21", "scikit-learn==0.21.*"),
        ("scikit-learn=0.21.*", "scikit-learn==0.21.*"),
        ("scikit-learn=0.21*", "scikit-learn==0.21.*"),
        ("scikit-learn 0.21.3", "scikit-learn==0.21.3"),
        ("scikit-learn 0.21.3 py36_0", "scikit-learn==0.21.3"),
        ("scikit-learn=0.21.3=py36h22eb022_0", "scikit-learn==0.21.3"),
        ("certifi=2022.9=pyhd8ed1ab_0", "certifi==2022.9"),
        ("'scikit-learn>=0.21,<0.22'", "scikit-learn<0.22,>=0.21"),
        ("'scikit-learn>=0.21'", "scikit-learn>=0.21"),
        ("scikit-learn", "scikit-learn"),
        ("scikit-learn=*", "scikit-learn"),
        ("numpy=*=mkl", "numpy"),
        ("conda-forge::scikit-learn=0.21.3", "scikit-learn==0.21.3"),
        ("Scikit-Learn=0.21.3", "scikit-learn==0.21.3"),
        ("pytorch=1.9.0", "torch==1.9.0"),
        ("py-xgboost=1.3.3", "xgboost==1.3.3"),
        ("matplotlib-base=3.1.1", "matplotlib==3.1.1"),
        ("pip<=24.0", "pip<=24.0"),
    ],
)
def test_a_conda_package_is_mapped_to_the_index(tmp_path: Path, entry: str, text: str) -> None:
    spec = conda_spec(tmp_path, entry)
    found = [demand for demand in spec.demands if demand.origin == "conda"]
    assert [demand.text for demand in found] == [text]
    assert str(found[0].place) == f"{tmp_path}/conda.yaml:3"


def test_an_unpinned_pip_of_conda_yaml_asks_for_nothing_of_its_own(tmp_path: Path) -> None:
    assert asked_for(conda_spec(tmp_path, "pip")) == []


def test_native_libraries_are_set_aside_and_said(tmp_path: Path) -> None:
    spec = conda_spec(tmp_path, "openssl=1.1.1=h1", "libblas", "numpy=1.19.2")
    assert asked_for(spec) == ["numpy==1.19.2"]
    assert [(n.code, n.message.split()[0]) for n in spec.notices] == [
        ("conda-native", "openssl"),
        ("conda-native", "libblas"),
    ]


def test_a_conda_name_that_is_not_on_the_list_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'some-tool'") as caught:
        conda_spec(tmp_path, "numpy", "some-tool=1.0")
    assert str(caught.value.place) == f"{tmp_path}/conda.yaml:4"


@pytest.mark.parametrize(
    "entry",
    ["numpy: 1.2", "[numpy]", "{conda: [numpy]}", "numpy=1.2|1.3", "\"numpy[version='1.2|1.3']\"", "'numpy[1.2'"],
)
def test_a_conda_entry_that_is_not_understood_is_refused_and_not_dropped(tmp_path: Path, entry: str) -> None:
    with pytest.raises(SpecError) as caught:
        conda_spec(tmp_path, entry)
    assert str(caught.value.place) == f"{tmp_path}/conda.yaml:3"


def test_what_pip_lists_wins_over_what_conda_lists(tmp_path: Path) -> None:
    text = "dependencies:\n- python=3.8.5\n- numpy=1.18.0\n- ruamel_yaml=0.15\n- pip:\n  - numpy==1.19.5\n  - ruamel.yaml\n"
    assert asked_for(spec_of(tmp_path, WITH_CONDA, {"conda.yaml": text})) == ["numpy==1.19.5", "ruamel.yaml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conda.yaml", "- numpy\n"),
        ("conda.yaml", "numpy\n"),
        ("conda.yaml", "dependencies: numpy\n"),
        ("conda.yaml", "dependencies:\n- pip: numpy\n"),
        ("conda.yaml", "dependencies:\n- pip:\n  - {a: b}\n"),
        ("python_env.yaml", "- pip\n"),
        ("python_env.yaml", "dependencies: -r requirements.txt\n"),
        ("python_env.yaml", "build_dependencies: 3\n"),
        ("python_env.yaml", "dependencies:\n- [a]\n"),
    ],
)
def test_wrong_types_in_the_files_of_the_environment_are_refused_with_their_line(
    tmp_path: Path, name: str, text: str
) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(tmp_path, WITH_BOTH, {name: text})
    assert caught.value.place is not None
    assert caught.value.place.file == f"{tmp_path}/{name}"
    assert caught.value.place.line is not None


# mlflow


def mlflow_of(folder: Path, mlmodel: str, *lines: str) -> list[str]:
    spec = spec_of(folder, mlmodel, {"requirements.txt": "\n".join(lines)})
    return [demand.text for demand in spec.demands if demand.name in ("mlflow", "mlflow-skinny")]


@pytest.mark.parametrize(
    ("mlmodel", "lines", "expected", "code"),
    [
        (PLAIN + VERSION_2_1_1, ["mlflow==2.0.1"], ["mlflow==2.0.1"], None),
        (PLAIN + VERSION_2_1_1, ["mlflow<3,>=2.1"], ["mlflow<3,>=2.1", "mlflow==2.1.1"], None),
        (PLAIN + VERSION_2_1_1, ["mlflow"], ["mlflow", "mlflow==2.1.1"], None),
        (PLAIN + VERSION_2_1_1, ["mlflow-skinny"], ["mlflow-skinny", "mlflow-skinny==2.1.1"], None),
        (PLAIN + VERSION_2_1_1, ["mlflow<2"], ["mlflow<2"], "mlflow-version-disagrees"),
        (PLAIN + VERSION_2_1_1, ["six"], [], None),
        (PLAIN, ["mlflow"], ["mlflow"], None),
        (MLFLOW_LOADER, ["six"], ["mlflow"], "mlflow-added"),
        (MLFLOW_LOADER + VERSION_2_1_1, ["six"], ["mlflow==2.1.1"], None),
        (PLAIN + "mlflow_version: 2.1.1+vendor\n", ["mlflow"], ["mlflow"], "mlflow-version-unusable"),
        (MLFLOW_LOADER + "mlflow_version: own build\n", ["six"], ["mlflow"], "mlflow-version-unusable"),
        (PLAIN + "mlflow_version: 2.1.1.dev0\n", ["mlflow"], ["mlflow", "mlflow==2.1.1.dev0"], None),
        (PLAIN + VERSION_2_1_1, ["mlflow @ https://files.invalid/mlflow-2.0.0-py3-none-any.whl"], None, None),
    ],
)
def test_which_mlflow_is_taken(
    tmp_path: Path, mlmodel: str, lines: list[str], expected: list[str] | None, code: str | None
) -> None:
    found = mlflow_of(tmp_path, mlmodel, *lines)
    assert found == (lines if expected is None else expected)
    said = [c for c in codes(read_spec(read_model(tmp_path)).notices) if c.startswith("mlflow")]
    assert (code in said) if code is not None else said == []


def test_flavors_say_the_versions_where_no_file_asks_for_anything() -> None:
    spec = read_spec(read_model(MODELS / "py36_mlflow0_1" / "iris"))
    assert {d.text: d.origin for d in spec.demands}["scikit-learn==0.19.1"] == "flavor"


def test_every_stated_version_is_kept_to_date_a_model_by() -> None:
    spec = read_spec(read_model(MODELS / "documented" / "fastai"))
    assert {"fastai==2.4.1", "psutil==5.9.0", "ipython==8.2.0"} <= {demand.text for demand in spec.versions_stated}


# The digest


def digest(folder: Path, *lines: str, mlmodel: str = WITH_CONDA, python: str = "3.8.5", head: str = "") -> str:
    return spec_of(folder, mlmodel, {"conda.yaml": head + pip_list(*lines, python=python)}).digest()


def test_the_digest_stays_when_only_lines_order_and_comments_change(tmp_path: Path) -> None:
    first = digest(tmp_path / "a", "numpy==1.19.5", "six")
    assert digest(tmp_path / "b", "six", "numpy==1.19.5") == first
    assert digest(tmp_path / "c", "numpy==1.19.5", "six", head="# a comment\n\nname: other\n") == first


def test_the_digest_changes_with_everything_that_decides_what_is_resolved(tmp_path: Path) -> None:
    found = [
        digest(tmp_path / "a", "numpy==1.19.5"),
        digest(tmp_path / "b", "numpy==1.19.4"),
        digest(tmp_path / "c", "numpy==1.19.5", "six"),
        digest(tmp_path / "d", "numpy==1.19.5", python="3.8.6"),
        digest(tmp_path / "e", "numpy==1.19.5", mlmodel=WITH_CONDA.replace("2021-06-15", "2021-06-16")),
        digest(tmp_path / "f", "numpy==1.19.5", mlmodel=WITH_CONDA + VERSION_2_1_1),
        digest(tmp_path / "g", "numpy==1.19.5", "--extra-index-url https://x.invalid/simple"),
        digest(tmp_path / "h", 'numpy==1.19.5 ; python_version < "3.9"'),
    ]
    assert len(set(found)) == len(found)


def test_the_digest_changes_with_a_constraint_and_with_the_content_of_a_local_part(tmp_path: Path) -> None:
    def of(name: str, files: dict[str, str]) -> str:
        return spec_of(tmp_path / name, PLAIN, files).digest()

    base = {"requirements.txt": "./own\n", "own/setup.py": "1"}
    assert of("a", base) == of("b", base)
    assert of("c", {**base, "own/setup.py": "2"}) != of("a", base)
    assert of("d", {**base, "own/more.py": ""}) != of("a", base)
    assert of("e", {**base, "own/__pycache__/x.pyc": "1"}) == of("a", base)
    assert of("f", {**base, "requirements.txt": "./own\n-c c.txt\n", "c.txt": "six<2\n"}) != of("a", base)


def test_a_directory_with_a_link_out_of_it_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(SpecError, match="leads out"):
        digest_of(folder)


# Paths


@pytest.mark.parametrize(
    "line",
    [
        "-r ../outside.txt",
        "-r /etc/passwd",
        "-c ../outside.txt",
        "-c /etc/passwd",
        "-e ../package",
        "../package",
        "/package",
        "./a/../../package",
        "file:///package",
        "file:../package",
        "-r link.txt",
        "-r linked/outside.txt",
        "./linked",
    ],
)
@pytest.mark.parametrize("where", ["requirements.txt", "conda.yaml", "python_env.yaml"])
def test_a_path_that_leaves_the_model_is_refused_at_its_line(tmp_path: Path, line: str, where: str) -> None:
    (tmp_path / "outside.txt").write_text("six\n")
    (tmp_path / "package").mkdir()
    files = {
        "requirements.txt": f"{line}\n",
        "conda.yaml": pip_list(line),
        "python_env.yaml": f"dependencies:\n- '{line}'\n",
    }
    model = write(tmp_path / "model", PLAIN, {where: files[where]})
    (model / "link.txt").symlink_to(tmp_path / "outside.txt")
    (model / "linked").symlink_to(tmp_path)
    with pytest.raises(EnvbuildError) as caught:
        read_spec(read_model(model))
    assert isinstance(caught.value, SpecError)
    assert caught.value.place is not None
    assert caught.value.place.file == str(model / where)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, {"requirements.txt": "-r loop.txt\n"})
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(EnvbuildError, match=r"requirements\.txt:1"):
        read_spec(read_model(tmp_path))
