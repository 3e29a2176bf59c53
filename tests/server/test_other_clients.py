"""Clients that others wrote, as they are: Triton's, MLServer's types and codecs, and MLflow's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from asking import HERE, Server
from standing import ERA, built, standing
from tiny import write_model
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

# Their environments are built for it.
pytestmark = pytest.mark.slow

# Its codecs do not know the texts of pandas 3.
MLSERVER = ("mlserver==1.7.1", "pandas==2.3.3")


@pytest.fixture(scope="module")
def environment_of_heart(shared_home: Path) -> Iterator[Path]:
    with built(ERA / "heart", shared_home) as environment:
        yield environment


@pytest.fixture(scope="module")
def heart(environment_of_heart: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with standing(environment_of_heart, ERA / "heart", tmp_path_factory.mktemp("heart")) as server:
        yield server.wait_loaded()


@pytest.fixture(scope="module")
def tensor(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("tensor")
    with built(ERA / "tensor", shared_home) as environment, standing(environment, ERA / "tensor", place) as server:
        yield server.wait_loaded()


def of_model(name: str, what: str) -> Any:
    return json.loads((ERA / f"{name}.{what}.json").read_text())


def client_of(server: Server) -> Any:
    return triton.InferenceServerClient(f"127.0.0.1:{server.port}")


def inputs_of(client: Any, *, is_binary: bool) -> list[Any]:
    """Heart's rows, with the names and the datatypes that the model says it has."""
    rows = of_model("heart", "input")["dataframe_split"]["data"]
    found = []
    for said, values in zip(client.get_model_metadata("heart")["inputs"], zip(*rows)):
        array = np.array(values, dtype=triton_to_np_dtype(said["datatype"])).reshape(-1, 1)
        one = triton.InferInput(said["name"], list(array.shape), said["datatype"])
        found.append(one.set_data_from_numpy(array, binary_data=is_binary))
    return found


def test_tritons_client_sees_a_server_and_a_model_that_are_ready(heart: Server) -> None:
    client = client_of(heart)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("heart")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    version = client.get_model_metadata("heart")["versions"][-1]
    assert client.get_model_metadata("heart", version)["outputs"] == [
        {"name": "output-1", "datatype": "INT64", "shape": [-1]}
    ]


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritons_client_predicts(heart: Server, is_binary: bool, compression: str | None) -> None:
    client = client_of(heart)
    answer = client.infer(
        "heart",
        inputs_of(client, is_binary=is_binary),
        outputs=[triton.InferRequestedOutput("output-1", binary_data=is_binary)],
        request_id="an id",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert answer.as_numpy("output-1").tolist() == of_model("heart", "expected")
    assert (answer.get_response()["id"], answer.get_output("output-1")["datatype"]) == ("an id", "INT64")
    assert ("data" in answer.get_output("output-1")) is not is_binary


def test_tritons_client_gets_all_outputs_where_it_names_none(heart: Server) -> None:
    client = client_of(heart)
    answer = client.infer("heart", inputs_of(client, is_binary=True), model_version="1")
    assert answer.as_numpy("output-1").tolist() == of_model("heart", "expected")


def test_tritons_client_is_told_what_is_wrong(heart: Server) -> None:
    client = client_of(heart)
    with pytest.raises(InferenceServerException, match=r"^\[400\] .*thal"):
        client.infer("heart", inputs_of(client, is_binary=True)[:-1])
    with pytest.raises(InferenceServerException, match=r"^\[404\] .*no model 'other'"):
        client.infer("other", inputs_of(client, is_binary=True))


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritons_client_sends_a_tensor_of_four_dimensions(tensor: Server, is_binary: bool) -> None:
    array = np.array(of_model("tensor", "input")["instances"], dtype=np.uint8)
    given = triton.InferInput("anything", list(array.shape), "UINT8")
    answer = client_of(tensor).infer("tensor", [given.set_data_from_numpy(array, binary_data=is_binary)])
    found = answer.as_numpy("output-1")
    assert found.dtype == np.float32
    assert found.tolist() == of_model("tensor", "expected")


ERAS = ("py36_mlflow1_2", "py38_mlflow1_30", "py38_mlflow2_1", "py310_mlflow2_17")


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("era", ERAS)
def test_heart_of_every_era_is_asked_by_tritons_client(
    shared_home: Path, tmp_path: Path, era: str, is_binary: bool
) -> None:
    model = ERA.with_name(era) / "heart"
    split = json.loads(model.with_name("heart.input.json").read_text())["dataframe_split"]
    given = []
    for name, values in zip(split["columns"], zip(*split["data"])):
        datatype = {int: "INT64", float: "FP64", str: "BYTES"}[type(values[0])]
        array = np.array(values, dtype=triton_to_np_dtype(datatype))
        given.append(triton.InferInput(name, [len(values)], datatype))
        given[-1].set_data_from_numpy(array, binary_data=is_binary)
    with built(model, shared_home) as environment, standing(environment, model, tmp_path) as server:
        found = client_of(server.wait_loaded()).infer("heart", given).as_numpy("output-1")
    assert found.tolist() == json.loads(model.with_name("heart.expected.json").read_text())


OF_MLSERVER = """
import json, sys, urllib.request
import pandas as pd
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import (
    InferenceErrorResponse, InferenceRequest, InferenceResponse, MetadataModelResponse, MetadataServerResponse, RequestOutput
)

def ask(path, body=None, kind=None):
    data = None if body is None else body.model_dump_json().encode()
    request = urllib.request.Request(sys.argv[1] + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return kind.model_validate_json(answer.read())
    except urllib.error.HTTPError as error:
        return InferenceErrorResponse.model_validate_json(error.read())

split = json.load(open(sys.argv[2]))["dataframe_split"]
frame = pd.DataFrame(split["data"], columns=split["columns"])
asked = PandasCodec.encode_request(frame, use_bytes=False)
asked.id = "an id"
asked.outputs = [RequestOutput(name="output-1")]
answer = ask("/v2/models/heart/infer", asked, InferenceResponse)
lacking = ask("/v2/models/heart/infer", InferenceRequest(inputs=asked.inputs[:-1]), InferenceResponse)
model = ask("/v2/models/heart", None, MetadataModelResponse)
json.dump({
    "server": ask("/v2", None, MetadataServerResponse).name,
    "inputs": [(one.name, one.datatype) for one in model.inputs],
    "sent": [(one.name, one.datatype) for one in asked.inputs],
    "content_type": asked.parameters.content_type,
    "id": answer.id,
    "model": answer.model_name,
    "predictions": NumpyCodec.decode_output(answer.outputs[0]).ravel().tolist(),
    "table": PandasCodec.decode_response(answer)["output-1"].tolist(),
    "error": lacking.error,
}, sys.stdout)
"""


def run(python: Path, script: str, *arguments: object) -> Any:
    argv = [python, "-I", "-W", "ignore", "-c", script, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_mlservers_types_and_codecs_write_what_is_taken_and_read_what_is_answered(
    heart: Server, shared_home: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "mlserver", python=HERE, pip=MLSERVER, created="2026-06-15 12:00:00.000000")
    with built(model, shared_home) as environment:
        found = run(
            environment / "bin" / "python",
            OF_MLSERVER,
            f"http://127.0.0.1:{heart.port}",
            ERA / "heart.input.json",
        )
    expected = of_model("heart", "expected")
    assert (found["server"], found["model"], found["id"]) == ("envbuild", "heart", "an id")
    assert found["inputs"] == found["sent"]
    assert found["content_type"] == "pd"
    assert found["predictions"] == found["table"] == expected
    assert "thal" in found["error"]


OF_MLFLOW = """
import json, sys
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.wait_server_ready(timeout=10)
split = json.load(open(sys.argv[2]))["dataframe_split"]
frame = pd.DataFrame(split["data"], columns=split["columns"])
answer = client.invoke(frame)
try:
    client.invoke(frame.drop(columns="thal"))
except Exception as error:
    said = str(error)
json.dump({
    "version": client.get_version(),
    "predictions": answer.get_predictions()[0].tolist(),
    "json": json.loads(answer.to_json()),
    "said": said,
}, sys.stdout)
"""


def test_mlflows_own_client_waits_asks_and_reads_the_answer(heart: Server, environment_of_heart: Path) -> None:
    found = run(environment_of_heart / "bin" / "python", OF_MLFLOW, heart.port, ERA / "heart.input.json")
    expected = of_model("heart", "expected")
    assert found["version"] == "3.17.2"
    assert found["predictions"] == expected
    assert found["json"] == {"predictions": expected}
    assert "thal" in found["said"]
