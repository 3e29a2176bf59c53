"""MLmodel in every shape since 2018."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from samples import CORPUS, ERA_MODELS, MODELS, PLAIN, model_of, spec_of, write

from envbuild.errors import EnvbuildError, ModelError, ModelNotFound, ModelUnreadable, NoPyfuncFlavor
from envbuild.inspection import Inspection
from envbuild.model import parse_instant, read_model
from envbuild.spec import read_spec

FASTAI = """\
artifact_path: classifier
flavors:
  fastai:
    data: model.fastai
    fastai_version: 2.4.1
  python_function:
    data: model.fastai
    env: conda.yaml
    loader_module: mlflow.fastai
    python_version: 3.8.12
model_uuid: e694c68eba484299976b06ab9058f636
run_id: e13da8ac261749299976b06ab9058f63
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 300,
    300, 3]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1,
    2]}}]'
"""
FASTAI_CONDA = """\
channels:
- conda-forge
dependencies:
- python=3.8.5
- pip
- pip:
  - mlflow
  - astunparse==1.6.3
  - cffi==1.15.0
  - configparser==3.7.4
  - defusedxml==0.7.1
  - fastai==2.4.1
  - google-api-core==2.7.1
  - ipython==8.2.0
  - psutil==5.9.0
name: mlflow-env
"""
HEART = """\
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.8.10
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.2.0
mlflow_version: 2.1.0
model_uuid: f79951f6f2dd4a2b9f3a3d3f0b7e2d6a
run_id: 1f4a3f3b2c5d4e6f8a9b0c1d2e3f4a5b
signature:
  inputs: '[{"name": "age", "type": "long"}, {"name": "sex", "type": "long"}, {"name":
    "cp", "type": "long"}, {"name": "trestbps", "type": "long"}, {"name": "chol",
    "type": "long"}, {"name": "fbs", "type": "long"}, {"name": "restecg", "type":
    "long"}, {"name": "thalach", "type": "long"}, {"name": "exang", "type": "long"},
    {"name": "oldpeak", "type": "double"}, {"name": "slope", "type": "long"}, {"name":
    "ca", "type": "long"}, {"name": "thal", "type": "string"}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
utc_time_created: '2022-12-30 10:11:12.345678'
"""
YEAR_2018 = """\
time_created: 2018-05-25T17:28:53.35

flavors:
  sklearn:
    sklearn_version: 0.19.1
    pickled_model: model.pkl
  python_function:
    loader_module: mlflow.sklearn
"""


def test_the_documented_fastai_model_reads_and_conda_yaml_decides_its_python(tmp_path: Path) -> None:
    model = model_of(tmp_path / "fastai", FASTAI, {"conda.yaml": FASTAI_CONDA})
    spec = read_spec(model)
    assert model.signature is not None
    assert model.signature.inputs is not None
    assert model.signature.inputs[0].type == "tensor(uint8, [-1, 300, 300, 3])"
    assert (model.created, model.mlflow_version) == (None, None)
    assert model.data_path == tmp_path / "fastai" / "model.fastai"
    assert (spec.python.text, spec.python.source) == ("3.8.5", "conda.yaml")
    (notice,) = [notice for notice in spec.notices if notice.code == "python-disagrees"]
    assert "3.8.12" in notice.message
    assert "3.8.5" in notice.message
    assert notice.place is not None
    assert notice.place.line == 10
    assert "mlflow" in [demand.text for demand in spec.demands]


def test_the_documented_sklearn_model_of_mlflow_2_1_has_thirteen_columns_from_age_to_thal(tmp_path: Path) -> None:
    files = {
        "conda.yaml": "dependencies:\n- python=3.8.10\n- pip:\n  - mlflow\n",
        "python_env.yaml": "python: 3.8.10\nbuild_dependencies:\n- pip==22.3\ndependencies:\n- -r requirements.txt\n",
        "requirements.txt": "mlflow<3,>=2.1\nscikit-learn==1.2.0\n",
    }
    model = model_of(tmp_path, HEART, files)
    assert model.signature is not None
    columns = model.signature.inputs
    assert columns is not None
    assert len(columns) == 13
    assert (columns[0].name, columns[0].type) == ("age", "long")
    assert (columns[12].name, columns[12].type) == ("thal", "string")
    assert (model.pyfunc.data, model.pyfunc.predict_fn) == ("model.pkl", "predict")
    assert model.pyfunc.conda_env is not None
    assert model.pyfunc.python_env is not None
    assert (model.pyfunc.conda_env.text, model.pyfunc.python_env.text) == ("conda.yaml", "python_env.yaml")
    assert "mlflow==2.1.0" in [demand.text for demand in read_spec(model).demands]


def test_a_model_of_2018_with_nothing_but_a_loader_inspects_with_mlflow_added_and_python_inferred(
    tmp_path: Path,
) -> None:
    model = model_of(tmp_path, YEAR_2018)
    spec = read_spec(model)
    assert model.created == datetime(2018, 5, 25, 17, 28, 53, 350000, tzinfo=timezone.utc)
    assert (spec.python.text, spec.python.source) == ("3.6", "inferred")
    assert {demand.name for demand in spec.demands} >= {"mlflow", "scikit-learn"}
    assert {notice.code for notice in spec.notices} == {"mlflow-added", "python-inferred"}
    assert (
        Inspection(model=model, uri="", spec=spec, notices=spec.notices)
        .to_dict()["model"]["created"]
        .startswith("2018-05")
    )


@pytest.mark.parametrize("path", ERA_MODELS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_era_model_reads_and_asks_for_its_eras_python(path: Path) -> None:
    spec = read_spec(read_model(path))
    digits = path.parent.name.split("_")[0].removeprefix("py")
    assert spec.python.minor == f"{digits[0]}.{digits[1:]}"
    assert spec.created is not None
    assert "mlflow" in {demand.name for demand in spec.demands}


def test_all_23_era_models_are_here() -> None:
    assert len(ERA_MODELS) == 23


@pytest.mark.parametrize("path", [path for path in CORPUS if path.name != "175"], ids=lambda path: path.name)
def test_a_model_from_the_wild_says_what_its_facts_say(path: Path) -> None:
    facts = json.loads((path / "facts.json").read_text())
    model = read_model(path)
    assert model.pyfunc.loader_module == facts["loader_module"]
    assert (None if model.mlflow_version is None else model.mlflow_version.text) == facts["mlflow_version"]
    assert model.created == (None if facts["created"] is None else parse_instant(facts["created"]))
    said = model.pyfunc.python_version
    assert (None if said is None else said.text) == facts["python"].get("MLmodel")


def test_what_is_not_a_model_in_the_wild_is_refused() -> None:
    with pytest.raises(ModelError, match="no flavors") as caught:
        read_model(MODELS / "corpus" / "175")
    assert caught.value.code == "model-invalid"


@pytest.mark.parametrize(
    ("written", "conda", "python"),
    [
        ("    env: conda.yaml\n", "conda.yaml", None),
        ("    env:\n      conda: c.yaml\n      virtualenv: v.yaml\n", "c.yaml", "v.yaml"),
        ("    env:\n      conda: c.yaml\n", "c.yaml", None),
        ("    env:\n      virtualenv: v.yaml\n", None, "v.yaml"),
        ("    env:\n      conda: null\n      virtualenv: v.yaml\n", None, "v.yaml"),
        ("    env: {}\n", None, None),
        ("    env: null\n", None, None),
        ("", None, None),
        ("    env: sub\\conda.yaml\n", "sub/conda.yaml", None),
    ],
)
def test_env_is_read_in_every_shape(tmp_path: Path, written: str, conda: str | None, python: str | None) -> None:
    pyfunc = model_of(tmp_path, PLAIN + written).pyfunc
    assert (None if pyfunc.conda_env is None else pyfunc.conda_env.text) == conda
    assert (None if pyfunc.python_env is None else pyfunc.python_env.text) == python


def test_env_as_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="env is neither"):
        model_of(tmp_path, PLAIN + "    env: [conda.yaml]\n")


def test_data_wins_over_model_path_and_without_either_the_loader_is_given_the_model(tmp_path: Path) -> None:
    both = model_of(tmp_path / "a", PLAIN + "    data: d\n    model_path: m\n")
    later = model_of(tmp_path / "b", PLAIN + "    model_path: m\n")
    neither = model_of(tmp_path / "c", PLAIN)
    assert both.data_path == tmp_path / "a" / "d"
    assert later.data_path == tmp_path / "b" / "m"
    assert neither.data_path == tmp_path / "c"


def test_code_config_and_predict_fn_are_read(tmp_path: Path) -> None:
    pyfunc = model_of(
        tmp_path, PLAIN + "    code: code\n    predict_fn: predict_proba\n    config: {a: 1, since: 2021-01-01}\n"
    ).pyfunc
    assert (pyfunc.code, pyfunc.predict_fn) == ("code", "predict_proba")
    assert json.loads(json.dumps(pyfunc.config)) == {"a": 1, "since": "2021-01-01"}
    assert model_of(tmp_path / "plain").pyfunc.predict_fn == "predict"


def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="config is not a mapping"):
        model_of(tmp_path, PLAIN + "    config: 3\n")


def test_unknown_flavors_are_kept_as_they_are(tmp_path: Path) -> None:
    model = model_of(tmp_path, PLAIN + "  our_own: {deep: {er: [1, two]}}\n  empty: null\n")
    assert model.flavors["our_own"] == {"deep": {"er": [1, "two"]}}
    assert model.flavors["empty"] == {}


def test_a_model_without_python_function_is_refused_and_its_flavors_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoPyfuncFlavor, match="it has: h2o, mleap") as caught:
        model_of(tmp_path, "flavors:\n  h2o: {h2o_version: 3}\n  mleap: {}\n")
    assert caught.value.code == "model-no-pyfunc"


def test_a_python_function_flavor_without_a_loader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="loader_module") as caught:
        model_of(tmp_path, "flavors:\n  python_function:\n    data: x\n")
    assert caught.value.place is not None
    assert caught.value.place.line == 3


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "utc_time_created: '2021-06-15 12:00:00.123456'",
            datetime(2021, 6, 15, 12, 0, 0, 123456, tzinfo=timezone.utc),
        ),
        ("utc_time_created: 2021-06-15 12:00:00", datetime(2021, 6, 15, 12, tzinfo=timezone.utc)),
        ("time_created: 2018-05-25T17:28:53.35", datetime(2018, 5, 25, 17, 28, 53, 350000, tzinfo=timezone.utc)),
        ("utc_time_created: '2021-06-15 12:00'", datetime(2021, 6, 15, 12, tzinfo=timezone.utc)),
        ("utc_time_created: '2021-06-15T12:00:00+02:00'", datetime(2021, 6, 15, 10, tzinfo=timezone.utc)),
        (
            "time_created: 2019-01-01T00:00:00\nutc_time_created: '2020-01-01 00:00:00'",
            datetime(2020, 1, 1, tzinfo=timezone.utc),
        ),
    ],
)
def test_dates_are_read_in_every_form_as_utc(tmp_path: Path, written: str, expected: datetime) -> None:
    model = model_of(tmp_path, f"{written}\nflavors: {{python_function: {{loader_module: x}}}}\n")
    assert model.created == expected


@pytest.mark.parametrize("written", ["'1970-01-01 00:00:00'", "soon", "'2021-13-45 00:00:00'", "'9999-12-31 23:59:59'"])
def test_a_date_that_no_model_can_have_is_left_out_and_said(tmp_path: Path, written: str) -> None:
    model = model_of(tmp_path, f"utc_time_created: {written}\nflavors: {{python_function: {{loader_module: x}}}}\n")
    assert model.created is None
    assert [notice.code for notice in model.notices] == ["date-unusable"]


@pytest.mark.parametrize("key", ["env", "data", "model_path", "code"])
@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "'C:\\x'", "'..\\x'", "c:x", "'\\\\server\\x'", '"a\\0b"', "a" * 300]
)
def test_a_path_that_leaves_the_model_or_is_none_is_refused_with_its_line(tmp_path: Path, key: str, path: str) -> None:
    with pytest.raises(ModelError) as caught:
        model_of(tmp_path, PLAIN + f"    {key}: {path}\n")
    assert caught.value.code == "model-invalid"
    assert caught.value.place is not None
    assert caught.value.place.line == 5


@pytest.mark.parametrize("key", ["conda", "virtualenv"])
def test_a_path_that_leaves_the_model_is_refused_in_both_keys_of_env(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelError, match="outside the model"):
        model_of(tmp_path, PLAIN + f"    env:\n      {key}: ../other/file.yaml\n")


@pytest.mark.parametrize(
    "text",
    [
        "flavors: 3\n",
        "flavors: [python_function]\n",
        "flavors:\n  python_function: 3\n",
        "flavors:\n  python_function:\n    loader_module: [a]\n",
        PLAIN + "    data: {a: b}\n",
        PLAIN + "    python_version: [3]\n",
        PLAIN + "signature: 3\n",
        PLAIN + "mlflow_version: {a: 1}\n",
        PLAIN.replace("'2021-06-15 12:00:00.000000'", "[1]"),
        "- a\n- b\n",
        "just text\n",
        "",
    ],
)
def test_wrong_types_anywhere_are_model_errors_with_a_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError) as caught:
        model_of(tmp_path, text)
    assert caught.value.exit_code == 3
    assert caught.value.place is not None


def test_the_model_may_be_named_by_its_mlmodel_file_and_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert read_model("m/MLmodel").path == read_model("m").path == tmp_path / "m"


def test_a_missing_model_is_said_and_a_model_one_level_below_is_named(tmp_path: Path) -> None:
    write(tmp_path / "artifacts" / "model")
    with pytest.raises(ModelNotFound, match="no model directory"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(ModelNotFound) as caught:
        read_model(tmp_path / "artifacts")
    assert caught.value.hint is not None
    assert "model" in caught.value.hint
    assert caught.value.code == "model-not-found"


@pytest.mark.parametrize("path", ["~nobody-of-this-name/model", "x" * 5000, "a\0b"])
def test_a_path_that_cannot_be_looked_at_is_a_missing_model(path: str) -> None:
    with pytest.raises(ModelNotFound):
        read_model(path)


def test_an_mlmodel_that_is_a_directory_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").mkdir()
    with pytest.raises(ModelUnreadable):
        read_model(tmp_path)


def test_the_input_example_is_the_serving_form_where_there_is_one(tmp_path: Path) -> None:
    info = "saved_input_example_info:\n  artifact_path: e.json\n  serving_input_path: s.json\n"
    model = model_of(tmp_path, PLAIN + info, {"e.json": "{}", "s.json": "{}"})
    assert model.input_example == tmp_path / "s.json"
    (tmp_path / "s.json").unlink()
    assert read_model(tmp_path).input_example == tmp_path / "e.json"
    (tmp_path / "e.json").unlink()
    assert read_model(tmp_path).input_example is None


def test_an_inspection_is_json_whatever_a_flavor_holds(tmp_path: Path) -> None:
    text = PLAIN + "  own: {day: 2021-01-01, raw: !!binary aGk=, at: 2021-01-01 10:00:00}\n"
    spec = spec_of(tmp_path, text)
    content = Inspection(model=read_model(tmp_path), uri="", spec=spec, notices=spec.notices).to_dict()
    assert json.loads(json.dumps(content))["model"]["flavors"]["own"]["day"] == "2021-01-01"


def test_every_model_here_inspects_as_json() -> None:
    for path in [*ERA_MODELS, MODELS / "documented" / "fastai", MODELS / "documented" / "sklearn2018"]:
        model = read_model(path)
        spec = read_spec(model)
        content = json.dumps(
            Inspection(model=model, uri="", spec=spec, notices=spec.notices).to_dict(), allow_nan=False
        )
        assert json.loads(content)["model"]["loader_module"] == model.pyfunc.loader_module


@pytest.mark.parametrize("text", ["", "2021-06-15", "2021/06/15 12:00:00", "12:00:00", "2021-06-15 25:00:00", "x"])
def test_what_is_no_instant_is_none(text: str) -> None:
    assert parse_instant(text) is None


def test_errors_of_models_are_errors_of_envbuild() -> None:
    assert issubclass(ModelError, EnvbuildError)


def test_a_pyfunc_flavor_without_data_is_loaded_from_its_own_flavors(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  sklearn: {pickled_model: model.pkl}\n  python_function: {loader_module: mlflow.sklearn}\n"
    )
    pyfunc = read_model(tmp_path).pyfunc
    assert (pyfunc.data, pyfunc.data_of_flavor) == (None, "model.pkl")


OF_PYTHON = PLAIN + "    python_model: python_model.pkl\n    model_code_path: /elsewhere/model.py\n"
ARTIFACT = "    artifacts:\n      words: {path: %s, uri: 's3://bucket/words'}\n"


def test_where_pieces_once_were_means_nothing(tmp_path: Path) -> None:
    read = model_of(tmp_path, OF_PYTHON + ARTIFACT % "artifacts/words")
    assert read.pyfunc.artifacts == ("python_model.pkl", "artifacts/words")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + ARTIFACT % "../words",
        PLAIN + ARTIFACT % "/etc/passwd",
        PLAIN + "    python_model: ../python_model.pkl\n",
    ],
)
def test_a_piece_of_a_python_model_that_lies_elsewhere_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match="outside the model's directory"):
        model_of(tmp_path, text)


@pytest.mark.parametrize(
    "link", ["code", "code/words.py", "code/below/deep", "model.pkl", "artifacts", "artifacts/words"]
)
def test_a_piece_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path, link: str) -> None:
    elsewhere, model = tmp_path / "elsewhere", tmp_path / "model"
    elsewhere.mkdir()
    (model / link).parent.mkdir(parents=True)
    (model / link).symlink_to(elsewhere)
    text = PLAIN + "    code: code\n    data: model.pkl\n" + ARTIFACT % "artifacts/words"
    with pytest.raises(ModelError, match="a link that leads out of the model") as caught:
        model_of(model, text)
    assert caught.value.hint == "put the file itself into the model"


def test_links_within_a_model_and_beside_its_pieces_are_its_own_affair(tmp_path: Path) -> None:
    model, name = tmp_path / "model", tmp_path / "name"
    (model / "code").mkdir(parents=True)
    (model / "code" / "words.py").symlink_to("../words.py")
    (model / "venv").symlink_to("/usr")
    name.symlink_to(model)
    assert model_of(name, PLAIN + "    code: code\n").pyfunc.code == "code"
