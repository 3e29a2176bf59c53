"""Whatever a body of the Open Inference Protocol says, and whatever a model answers: read, refused, or written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inferring import DTYPES, packed, unpacked
from standing import column, signature, tensor
from tiny import write_model

from envbuild.errors import InputError
from envbuild.model import read_model
from envbuild.request import Question
from envbuild.server.protocols import tensors
from envbuild.server.protocols.inference import Inference
from envbuild.server.protocols.tensor_answers import outputs_of
from envbuild.server.served import Served

SIGNATURES: dict[str, tuple[list[Any], list[Any]]] = {
    "none": ([], []),
    "columns": (
        [column("long", "a"), column("binary", "b"), column("object", "c", properties={}), column("datetime", "d")],
        [column("integer", "a"), column("binary", "b")],
    ),
    "unnamed": ([column("double"), column("string")], [column("float")]),
    "tensor": ([tensor("float32", [-1, 2])], [tensor("float16", [-1, 2])]),
    "named": ([tensor("uint8", [-1], "a"), tensor("str", [-1], "b")], [tensor("int8", [-1], "a")]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Inference]:
    found = {}
    for name, (inputs, outputs) in SIGNATURES.items():
        path = write_model(tmp_path_factory.mktemp("bodies") / name, more=signature(inputs, outputs))
        served = Served(model=read_model(path), name=name, lock=None, environment=Path("/"), start=cast("Any", None))
        found[name] = Inference(served, cast("Any", None))
    return found


def anything(floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | floats | st.text(max_size=3)
    return st.recursive(
        plain | st.sampled_from([2**64, -1, 0, 1, 2]),
        lambda below: (
            st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "data"]), below, max_size=3)
        ),
        max_leaves=8,
    )


ANYTHING, ANSWERS = anything(st.floats()), anything(st.floats(allow_nan=False, allow_infinity=False))


def nearly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nine times in ten what is meant."""
    return st.integers(0, 9).flatmap(lambda number: usual if number else ANYTHING)


SHAPES = st.lists(st.integers(0, 3), max_size=3)
DATA = st.lists(st.integers(-2, 300) | st.floats() | st.text(max_size=2) | st.booleans() | st.none(), max_size=6)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "content_type": nearly(st.sampled_from(tensors.CONTENT_TYPES)),
        "binary_data_size": nearly(st.integers(0, 24)),
        "binary_data": nearly(st.booleans()),
        "binary_data_output": nearly(st.booleans()),
    },
)
INPUTS = st.fixed_dictionaries(
    {
        "name": nearly(st.sampled_from("abcd")),
        "datatype": nearly(st.sampled_from((*tensors.FORMATS, tensors.BYTES))),
        "shape": nearly(SHAPES),
    },
    optional={"data": nearly(DATA), "parameters": nearly(PARAMETERS)},
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": nearly(st.lists(nearly(INPUTS), max_size=3))},
    optional={"id": nearly(st.text()), "parameters": nearly(PARAMETERS), "outputs": ANYTHING},
)


@pytest.mark.parametrize("name", SIGNATURES)
@given(nearly(REQUESTS), st.binary(max_size=24), st.integers(-3, 3) | st.none())
@settings(max_examples=120, deadline=None)
def test_a_request_is_read_or_refused(
    models: dict[str, Inference], name: str, request: Any, tail: bytes, lie: int | None
) -> None:
    head = json.dumps(request).encode()
    try:
        asked = models[name]._read(head + tail, None if lie is None else str(len(head) + lie))
    except InputError:
        return
    assert isinstance(asked.question, Question)
    json.loads(bytes(asked.question.payload))


@pytest.mark.parametrize("name", SIGNATURES)
@given(ANSWERS)
@settings(max_examples=120, deadline=None)
def test_whatever_is_predicted_is_tensors_of_their_shape_in_json_and_in_binary(name: str, predictions: Any) -> None:
    for output in outputs_of(predictions, SIGNATURES[name][1]):
        assert len(output.values) == math.prod(output.shape)
        written = output.written()
        json.dumps(written["data"], allow_nan=False)
        said, data = output.written_binary()
        assert said["parameters"]["binary_data_size"] == len(data)
        if output.datatype != tensors.BYTES:
            back = unpacked(output.datatype, data)
            assert [one for one, other in zip(back, written["data"]) if other is not None and one != other] == []


@pytest.mark.parametrize("datatype", [*DTYPES, "BYTES"])
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_binary_data_is_read_as_numpy_reads_it_and_written_as_numpy_writes_it(
    datatype: str, data: st.DataObject
) -> None:
    if datatype == "BYTES":
        raw = packed(datatype, values := data.draw(st.lists(st.binary(max_size=4), max_size=5)))
    else:
        values = data.draw(st.lists(st.integers(0, 1), max_size=5))
        size = DTYPES[datatype].itemsize if datatype != "BOOL" else 1  # type: ignore[attr-defined]
        raw = (
            bytes(values)
            if datatype == "BOOL"
            else data.draw(st.binary(max_size=40).map(lambda b: b[: len(b) // size * size]))
        )
        values = unpacked(datatype, raw)
    found = tensors.unpacked(memoryview(raw), datatype, len(values), "input 'x'")
    assert str(list(found)) == str(list(values))  # NaN among them
    if not any(isinstance(value, float) and math.isnan(value) for value in found):
        assert tensors.packed(found, datatype) == raw
