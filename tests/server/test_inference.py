"""The Open Inference Protocol: what its routes say, what they take, and what they refuse, over real HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, Answer, Server
from inferring import LENGTH, as_binary, ask, ask_binary, one, outputs_of
from standing import column, signature, standing, tensor
from tiny import write_model
from waiting import eventually

# Gives back what it is given, or what its params say.
ECHO = """
import json

class Echo:
    def predict(self, data, params=None):
        says = (params or {}).get("says")
        return json.loads(says) if says else data

def _load_pyfunc(path):
    return Echo()
"""
SAYS = [{"name": "says", "type": "string", "default": "", "shape": None}]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inference")


def served(environment: Path, place: Path, name: str, written: str) -> Any:
    model = write_model(place / name / "model", python=HERE, loader=ECHO, more=written)
    return standing(environment, model, model.parent)


@pytest.fixture(scope="module")
def plain(environment: Path, place: Path) -> Iterator[Server]:
    """A model without a signature of inputs, in an environment without libraries."""
    with served(environment, place, "plain", signature(params=SAYS)) as server:
        yield server.wait_loaded()


COLUMNS = [
    column("long", "age"),
    column("double", "height"),
    column("string", "name"),
    column("binary", "seal", required=False),
    column("object", "more", required=False, properties={"a": {"type": "long", "required": True}}),
    column("array", "tags", required=False, items={"type": "string"}),
]
OUTPUTS = [column("integer", "age"), column("float", "height"), column("string", "name"), column("binary", "seal")]


@pytest.fixture(scope="module")
def table(environment: Path, place: Path) -> Iterator[Server]:
    """A model of columns."""
    with served(environment, place, "table", signature(COLUMNS, OUTPUTS, SAYS)) as server:
        yield server.wait_loaded()


AGE, HEIGHT, NAME = one("age", "INT64", [7, 8]), one("height", "FP64", [1.5, 2.0]), one("name", "BYTES", ["é", "b"])


def request(*inputs: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def error_of(answer: Answer) -> str:
    assert answer.status == 400, answer.body
    assert list(answer.json) == ["error"]
    return str(answer.json["error"])


def test_the_server_and_its_model_say_what_they_are(table: Server) -> None:
    assert table.ask("GET", "/v2").json["extensions"] == ["binary_tensor_data"]
    assert table.ask("GET", "/v2/health/live").json == {"live": True}
    assert table.ask("GET", "/v2/health/ready").json == {"ready": True}
    assert table.ask("GET", "/v2/models/model/ready").json == {"name": "model", "ready": True}
    said = table.ask("GET", "/v2/models/model").json
    assert (said["name"], said["platform"]) == ("model", "mlflow_pyfunc")
    assert [tuple(one.values()) for one in said["inputs"]] == [
        ("age", "INT64", [-1]),
        ("height", "FP64", [-1]),
        ("name", "BYTES", [-1]),
        ("seal", "BYTES", [-1]),
        ("more", "BYTES", [-1]),
        ("tags", "BYTES", [-1, -1]),
    ]
    assert [one["datatype"] for one in said["outputs"]] == ["INT32", "FP32", "BYTES", "BYTES"]


def test_a_model_without_a_signature_has_one_input_of_any_shape(plain: Server) -> None:
    said = plain.ask("GET", "/v2/models/model").json
    assert said["inputs"] == [{"name": "input-1", "datatype": "FP64", "shape": [-1, -1]}]


def test_every_version_that_the_model_names_is_answered_and_no_other(table: Server) -> None:
    versions = table.ask("GET", "/v2/models/model").json["versions"]
    assert versions[0] == "1"
    for version in versions:
        form = f"/v2/models/model/versions/{version}"
        assert table.ask("GET", form).status == table.ask("GET", f"{form}/ready").status == 200
        body = json.dumps(request(AGE, HEIGHT, NAME)).encode()
        answer = table.ask("POST", f"{form}/infer", body)
        assert (answer.status, answer.json["model_version"]) == (200, versions[-1])
    assert "no version '2'" in table.ask("GET", "/v2/models/model/versions/2").json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/model/versions/2/infer", 404),
        ("GET", "/v2/nowhere", 404),
        ("GET", "/v2/models/model/infer", 405),
        ("POST", "/v2/models/model", 405),
    ],
)
def test_other_names_paths_and_methods_are_refused_in_the_form_of_the_protocol(
    table: Server, method: str, path: str, status: int
) -> None:
    answer = table.ask(method, path, b"{}" if method == "POST" else None)
    assert (answer.status, list(answer.json)) == (status, ["error"])


def test_a_model_that_does_not_load_is_not_ready_and_lives(environment: Path, place: Path) -> None:
    loader = "def _load_pyfunc(path):\n    raise ImportError('there is no library of that name')\n"
    model = write_model(place / "broken" / "model", python=HERE, loader=loader)
    with standing(environment, model, model.parent) as server:
        answer = server.ask("GET", "/v2/health/ready")
        assert (answer.status, answer.json["ready"]) == (503, False)
        assert server.ask("GET", "/v2/models/model/ready").status == 503
        assert server.ask("GET", "/v2/health/live").status == 200
        answer = ask(server, request(one("x", "FP64", [1.0])))
        assert (answer.status, list(answer.json)) == (503, ["error"])


def test_a_tensor_a_column_is_a_table_in_json_and_in_binary(table: Server) -> None:
    expected = {
        "age": ("INT32", [2], [7, 8]),
        "height": ("FP32", [2], [1.5, 2.0]),
        "name": ("BYTES", [2], ["é", "b"]),
    }
    asked = request(AGE, {**HEIGHT, "shape": [2, 1]}, NAME)
    assert outputs_of(ask(table, asked)) == outputs_of(ask_binary(table, asked)) == expected
    nested = request({**AGE, "shape": [2, 1], "data": [[7], [8]]}, HEIGHT, NAME)
    assert outputs_of(ask(table, nested)) == expected


def test_bytes_are_base64_in_json_and_as_they_are_in_binary(table: Server) -> None:
    seals = [b"\xff\x00", b""]
    texts = [base64.b64encode(seal).decode() for seal in seals]
    written = outputs_of(ask(table, request(AGE, HEIGHT, NAME, one("seal", "BYTES", texts))))
    assert written["seal"] == ("BYTES", [2], texts)
    asked = request(AGE, HEIGHT, NAME, one("seal", "BYTES", seals), parameters={"binary_data_output": True})
    answer = ask_binary(table, asked)
    # A text of bytes that are no UTF-8 is behind the JSON as it is.
    assert answer.body.endswith(b"\x02\x00\x00\x00\xff\x00\x00\x00\x00\x00")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_the_content_types_of_mlserver_say_what_a_text_is(table: Server) -> None:
    def seal(text: str, content_type: str) -> Any:
        given = one("seal", "BYTES", [text, text], parameters={"content_type": content_type})
        return outputs_of(ask(table, request(AGE, HEIGHT, NAME, given)))["seal"][2][0]

    assert seal("plain", "str") == base64.b64encode(b"plain").decode()
    assert seal("cGxhaW4=", "base64") == "cGxhaW4="
    name = {**NAME, "data": ['"é"', '"b"'], "parameters": {"content_type": "pd_json"}}
    assert outputs_of(ask(table, request(AGE, HEIGHT, name)))["name"][2] == ["é", "b"]
    name = {**NAME, "data": ["w6k=", "Yg=="], "parameters": {"content_type": "base64"}}
    assert outputs_of(ask(table, request(AGE, HEIGHT, name)))["name"][2] == ["é", "b"]


def test_nested_columns_are_texts_of_json_and_lists_are_rows(table: Server) -> None:
    more = one("more", "BYTES", ['{"a": 1}', '{"a": 2}'])
    tags = one("tags", "BYTES", ["x", "y", "z", "w"], [2, 2])
    found = outputs_of(ask(table, request(AGE, HEIGHT, NAME, more, tags)))
    assert found["more"] == ("BYTES", [2], ['{"a": 1}', '{"a": 2}'])
    assert found["tags"] == ("BYTES", [2, 2], ["x", "y", "z", "w"])
    assert "input 'more'" in error_of(ask(table, request(AGE, HEIGHT, NAME, {**more, "data": ["{", "{}"]})))


def test_one_tensor_has_the_columns_in_their_order(environment: Path, place: Path) -> None:
    with served(environment, place, "matrix", signature([column("double", name) for name in "abc"])) as server:
        matrix = one("anything", "FP32", [1, 2, 3, 4, 5, 6], [2, 3])
        found = outputs_of(ask(server, request(matrix)))
        assert found == {"a": ("FP64", [2], [1.0, 4.0]), "b": ("FP64", [2], [2.0, 5.0]), "c": ("FP64", [2], [3.0, 6.0])}
        assert found == outputs_of(ask_binary(server, request(matrix)))
        assert "has 2 columns" in error_of(ask(server, request(one("x", "FP32", [1, 2], [1, 2]))))


def test_columns_without_names_are_taken_in_their_order(environment: Path, place: Path) -> None:
    with served(environment, place, "unnamed", signature([column("long"), column("long")])) as server:
        found = outputs_of(ask(server, request(one("x", "INT64", [1, 2]), one("y", "INT64", [3, 4]))))
        assert found == {"output-1": ("INT64", [2, 2], [1, 3, 2, 4])}
        assert "has 2 columns" in error_of(ask(server, request(one("x", "INT64", [1, 2]))))


def test_without_a_signature_one_tensor_is_an_array_and_several_are_columns(plain: Server) -> None:
    cube = one("cube", "FP64", [float(n) for n in range(12)], [2, 3, 2])
    assert outputs_of(ask(plain, request(cube))) == {"output-1": ("FP64", [2, 3, 2], cube["data"])}
    columns = request(one("a", "INT64", [1, 2]), one("b", "BOOL", [True, False]))
    expected = {"a": ("INT64", [2], [1, 2]), "b": ("BOOL", [2], [True, False])}
    assert outputs_of(ask(plain, columns)) == outputs_of(ask_binary(plain, columns)) == expected
    alone = request(one("a", "INT64", [1, 2]), parameters={"content_type": "pd"})
    assert outputs_of(ask(plain, alone)) == {"a": ("INT64", [2], [1, 2])}
    arrays = request(one("a", "INT64", [1, 2, 3, 4], [2, 2]), one("b", "INT64", [1]))
    assert outputs_of(ask(plain, arrays)) == {"a": ("INT64", [2, 2], [1, 2, 3, 4]), "b": ("INT64", [1], [1])}


def test_tensors_of_a_signature_go_by_name_and_a_single_unnamed_one_by_any(environment: Path, place: Path) -> None:
    with served(environment, place, "tensors", signature([tensor("float64", [-1, 2])])) as server:
        assert server.ask("GET", "/v2/models/model").json["inputs"] == [
            {"name": "input-1", "datatype": "FP64", "shape": [-1, 2]}
        ]
        found = outputs_of(ask_binary(server, request(one("x", "FP64", [1, 2, 3, 4], [2, 2]))))
        assert found == {"output-1": ("FP64", [2, 2], [1.0, 2.0, 3.0, 4.0])}


def test_numbers_of_64_bits_without_a_sign_and_of_16_with_a_point_are_right(plain: Server) -> None:
    large = one("x", "UINT64", [2**64 - 1, 0])
    assert outputs_of(ask(plain, request(large))) == {"output-1": ("UINT64", [2], [2**64 - 1, 0])}
    assert outputs_of(ask_binary(plain, request(large))) == outputs_of(ask(plain, request(large)))
    half = one("x", "FP16", [0.1, -65504.0])
    expected = [0.0999755859375, -65504.0]
    assert outputs_of(ask(plain, request(half))) == {"output-1": ("FP64", [2], expected)}
    assert outputs_of(ask_binary(plain, request(half))) == {"output-1": ("FP64", [2], expected)}


def test_the_id_and_the_outputs_that_are_asked_for_come_back(table: Server) -> None:
    asked = request(AGE, HEIGHT, NAME, id="42", outputs=[{"name": "name"}, {"name": "age"}])
    answer = ask(table, asked)
    assert (answer.json["id"], list(outputs_of(answer))) == ("42", ["name", "age"])
    mixed = [{"name": "name", "parameters": {"binary_data": True}}, {"name": "age"}]
    answer = ask(table, {**asked, "outputs": mixed})
    assert outputs_of(answer) == {"name": ("BYTES", [2], ["é", "b"]), "age": ("INT32", [2], [7, 8])}
    assert LENGTH in answer.headers
    not_so = [{"name": "age", "parameters": {"binary_data": False}}]
    answer = ask(table, {**asked, "outputs": not_so, "parameters": {"binary_data_output": True}})
    assert answer.headers["content-type"] == "application/json"
    assert "'weight'" in error_of(ask(table, {**asked, "outputs": [{"name": "weight"}]}))


ANSWERS = [
    ("[1, 2]", {"output-1": ("INT64", [2], [1, 2])}),
    ("[1, 2.5, null]", {"output-1": ("FP64", [3], [1.0, 2.5, None])}),
    ("[true]", {"output-1": ("BOOL", [1], [True])}),
    ('["a", null]', {"output-1": ("BYTES", [2], ["a", None])}),
    ("[[1, 2], [3, 4]]", {"output-1": ("INT64", [2, 2], [1, 2, 3, 4])}),
    ("[[1], [2, 3]]", {"output-1": ("BYTES", [2], ["[1]", "[2, 3]"])}),
    ('[1, "a"]', {"output-1": ("BYTES", [2], ["1", '"a"'])}),
    ("7", {"output-1": ("INT64", [1], [7])}),
    ('{"a": {"b": 1}}', {"output-1": ("BYTES", [1], ['{"a": {"b": 1}}'])}),
    ("[]", {"output-1": ("FP64", [0], [])}),
    ('[{"a": 1, "b": "x"}, {"a": 2}]', {"a": ("INT64", [2], [1, 2]), "b": ("BYTES", [2], ["x", None])}),
    ('{"a": [1, 2], "b": [[1.5]]}', {"a": ("INT64", [2], [1, 2]), "b": ("FP64", [1, 1], [1.5])}),
    ("[100000000000000000000000]", {"output-1": ("BYTES", [1], ["100000000000000000000000"])}),
]


@pytest.mark.parametrize(("says", "expected"), ANSWERS)
def test_answers_of_every_shape_are_tensors(plain: Server, says: str, expected: Any) -> None:
    asked = request(one("x", "FP64", [1.0]), parameters={"says": says, "unknown": 1})
    assert outputs_of(ask(plain, asked)) == expected


def test_texts_of_json_are_said_to_be_some(plain: Server) -> None:
    def parameters(says: str, **more: Any) -> Any:
        asked = request(one("x", "FP64", [1.0]), parameters={"says": says, **more})
        answer = ask(plain, asked)
        length = int(answer.headers.get(LENGTH, len(answer.body)))
        return json.loads(answer.body[:length])["outputs"][0].get("parameters")

    assert parameters('[{"a": [1]}, {"a": {}}]') == {"content_type": "pd_json"}
    assert parameters("[[1], []]", binary_data_output=True) == {"content_type": "pd_json", "binary_data_size": 13}
    assert parameters('["a"]') is None


def test_in_binary_a_missing_number_is_nan_and_a_missing_text_is_empty(plain: Server) -> None:
    parameters = {"says": '[{"a": 1.5, "b": "x"}, {"a": null}]', "binary_data_output": True}
    found = outputs_of(ask(plain, request(one("x", "FP64", [1.0]), parameters=parameters)))
    assert found["b"] == ("BYTES", [2], ["x", ""])
    datatype, shape, (first, second) = found["a"]
    assert (datatype, shape, first) == ("FP64", [2], 1.5)
    assert second != second  # noqa: PLR0124 - NaN


def test_what_the_signature_says_of_outputs_counts_where_it_fits(table: Server) -> None:
    def asked(says: str) -> Any:
        return outputs_of(ask(table, request(AGE, HEIGHT, NAME, parameters={"says": says})))

    assert asked('[{"age": 1, "height": 0.5}]') == {"age": ("INT32", [1], [1]), "height": ("FP32", [1], [0.5])}
    assert asked('[{"age": 5000000000, "height": 0.1}, {"age": 1, "height": 0.5}]') == {
        "age": ("INT64", [2], [5000000000, 1]),
        "height": ("FP64", [2], [0.1, 0.5]),
    }
    rows = asked('[[1, 0.5, "x", ""], [2, 0.5, "y", ""]]')
    assert list(rows) == ["age", "height", "name", "seal"]
    assert rows["name"] == ("BYTES", [2], ["x", "y"])


BAD: list[tuple[Any, str]] = [
    ([], "must be an object"),
    ({}, "must have inputs"),
    ({"inputs": []}, "must have inputs"),
    ({"inputs": {"x": 1}}, "must have inputs"),
    (request(1), "inputs[0] must be an object"),
    (request({"shape": [1], "datatype": "FP64", "data": [1]}), "inputs[0] must have a name"),
    (request(one("x", "FP63", [1])), "input 'x' has the datatype 'FP63'"),
    (request({"name": "x", "shape": [1], "data": [1]}), "input 'x' has the datatype 'None'"),
    (request({"name": "x", "datatype": "FP64", "data": [1]}), "input 'x' must have a shape"),
    (request(one("x", "FP64", [1], [-1])), "input 'x' must have a shape"),
    (request(one("x", "FP64", [1], [True])), "input 'x' must have a shape"),
    (request(one("x", "FP64", [1], [1] * 33)), "33 dimensions"),
    (request(one("x", "FP64", [], [10**9, 0])), "only its first length can be 0"),
    (request({"name": "x", "datatype": "FP64", "shape": [1]}), "input 'x' has no data"),
    (request(one("x", "FP64", [1, 2], [3])), "input 'x' has 2 values"),
    (request(one("x", "FP64", [1, 2], [10**30])), "input 'x' has 2 values"),
    (request(one("x", "FP64", [[1], [2, 3]], [2, 2])), "lists of other lengths"),
    (request(one("x", "FP64", [[1], [2]], [2, 1, 1])), "not nested as its shape"),
    (request(one("x", "FP64", ["a"])), "input 'x' is FP64, and its value 0 is a text"),
    (request(one("x", "INT64", [1, 1.5])), "input 'x' is INT64, and its value 1 is a number"),
    (request(one("x", "INT64", [True])), "input 'x' is INT64, and its value 0 is a boolean"),
    (request(one("x", "INT64", [None])), "input 'x' is INT64, and its value 0 is null"),
    (request(one("x", "UINT8", [1, 256])), "input 'x' is UINT8, and its value 1 is not between 0 and 255"),
    (request(one("x", "BOOL", [1])), "input 'x' is BOOL, and its value 0 is a number"),
    (request(one("x", "BYTES", [1])), "input 'x' is BYTES, and its value 0 is a number"),
    (request(one("x", "FP16", [1e6])), "too large"),
    (request(one("x", "FP64", [10**400])), "too large"),
    (request(one("x", "FP64", [1]), one("x", "FP64", [1])), "the same name"),
    (request(one("x", "FP64", [1]), one("y", "FP64", [1, 2])), "input 'y' has 2 rows, and input 'x' has 1"),
    (request(one("x", "FP64", [1], parameters={"content_type": "hat"})), "content_type of input 'x' is 'hat'"),
    (request(one("x", "FP64", [1], parameters=[])), "parameters of input 'x' must be an object"),
    (request(one("x", "FP64", [1], parameters={"binary_data_size": 8})), "data, and a binary_data_size"),
    (request(one("x", "BYTES", ["%"], parameters={"content_type": "base64"})), "not base64"),
    (request(one("x", "FP64", [1]), id=7), "the id of the request must be a text"),
    (request(one("x", "FP64", [1]), outputs=[7]), "the outputs of the request"),
    (request(one("x", "FP64", [1]), parameters={"binary_data_output": 1}), "binary_data_output must be true or false"),
]


@pytest.mark.parametrize(("asked", "said"), BAD)
def test_what_does_not_go_together_is_refused_with_the_inputs_name(plain: Server, asked: Any, said: str) -> None:
    assert said in error_of(ask(plain, asked))


def test_what_is_no_json_is_refused(plain: Server) -> None:
    for payload in (b"{", b"", b"\xff", b"[" * 100_000):
        assert error_of(plain.ask("POST", "/v2/models/model/infer", payload))


def test_a_column_has_one_value_a_row(table: Server) -> None:
    cube = one("age", "INT64", [1, 2, 3, 4], [2, 2])
    assert "input 'age' has the shape [2, 2]" in error_of(ask(table, request(cube, HEIGHT, NAME)))


def binary(size: Any = 16, datatype: str = "FP64", shape: Any = (2,), **more: Any) -> bytes:
    given = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}, **more}
    return json.dumps(request(given)).encode()


TWO = bytes(16)
LIES: list[tuple[bytes, bytes, str | None, str]] = [
    (binary(), TWO, "999999", "the body has"),
    (binary(), TWO, "-1", "the body has"),
    (binary(), TWO, "9" * 5000, "the body has"),
    (binary(), TWO, "²", "the body has"),
    (binary(), TWO, "10", "not JSON"),
    (binary(), TWO, None, "not"),
    (binary(), TWO[:-1], "", "15 bytes left"),
    (binary(), TWO + b"\0", "", "1 bytes of binary data that belong to no input"),
    (binary(8), TWO[:8], "", "2 values of FP64 are 16"),
    (binary(16, shape=[10**30]), TWO, "", "far more"),
    (binary(-1), TWO, "", "must be a number of bytes"),
    (binary(1.5), TWO, "", "must be a number of bytes"),
    (binary(True), TWO, "", "must be a number of bytes"),
    (binary(data=[1, 2]), TWO, "", "and a binary_data_size as well"),
    (binary(2, "BOOL"), b"\x01\x02", "", "neither 0 nor 1"),
    (binary(3, "BYTES"), b"\x01\0\0", "", "inside of a length"),
    (binary(5, "BYTES"), b"\xff\xff\xff\xffa", "", "a text of 4294967295 bytes"),
    (binary(4, "BYTES"), b"\0\0\0\0", "", "1 texts in its binary data"),
    (binary(12, "BYTES"), b"\0\0\0\0" * 3, "", "3 texts in its binary data"),
    (binary(10, "BYTES"), b"\x01\0\0\0\xff\x01\0\0\0a", "", "not UTF-8"),
]


@pytest.mark.parametrize(("head", "tail", "length", "said"), LIES)
def test_every_lie_about_a_length_is_a_bad_request(
    plain: Server, head: bytes, tail: bytes, length: str | None, said: str
) -> None:
    headers = (
        {} if length is None else {LENGTH: (length or str(len(head))).encode("latin-1", "replace").decode("latin-1")}
    )
    answer = plain.ask("POST", "/v2/models/model/infer", head + tail, "application/octet-stream", headers)
    assert said in error_of(answer)


def test_a_request_may_be_compressed(plain: Server) -> None:
    import gzip
    import zlib

    head, tail = as_binary(request(one("x", "INT64", [1, 2])))
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        headers = {LENGTH: str(len(head)), "Content-Encoding": encoding}
        answer = plain.ask("POST", "/v2/models/model/infer", compress(head + tail), None, headers)
        assert outputs_of(answer) == {"output-1": ("INT64", [2], [1, 2])}
        answer = plain.ask("POST", "/v2/models/model/infer", compress(head)[:-9], None, headers)
        assert error_of(answer)
    answer = plain.ask("POST", "/v2/models/model/infer", b"", None, {"Content-Encoding": "br"})
    assert (answer.status, list(answer.json)) == (415, ["error"])


def test_a_full_queue_says_when_to_come_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(ENVBUILD_QUEUE="1").wait_loaded()
    gate = tmp_path / "gate"
    slow = server.begin("wait", str(gate))
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
    waits = server.begin("echo")
    answer = ask(server, request(one("x", "BYTES", ["echo"])))
    gate.touch()
    assert (answer.status, list(answer.json), answer.headers["retry-after"]) == (429, ["error"], "1")
    assert slow.answer().status == waits.answer().status == 200


def test_parameters_that_are_no_params_of_the_model_are_left_alone(serve: Callable[..., Server]) -> None:
    parameters = {"priority": 1, "sequence_id": "7", "binary_data_output": False}
    found = outputs_of(ask(serve(), request(one("x", "BYTES", ["echo"]), parameters=parameters)))
    assert found == {"output-1": ("BYTES", [1], ["echo"])}


def test_a_name_may_have_slashes_and_spaces(environment: Path, place: Path) -> None:
    model = write_model(place / "named" / "model", python=HERE, loader=ECHO)
    with standing(environment, model, model.parent, ENVBUILD_NAME="team/heart of gold") as server:
        assert server.ask("GET", "/v2/models/team/heart%20of%20gold").json["name"] == "team/heart of gold"
        assert ask(server, request(one("x", "FP64", [1.0])), model="team/heart%20of%20gold/versions/1").status == 200


def test_a_long_request_is_read_beside_the_event_loop_and_answered_as_a_short_one(plain: Server) -> None:
    values = [float(number) for number in range(100_000)]
    assert outputs_of(ask(plain, request(one("x", "FP64", values)))) == {"output-1": ("FP64", [100_000], values)}
    assert outputs_of(ask_binary(plain, request(one("x", "FP64", values))))["output-1"][2] == values


HINTED = [
    (column("string"), one("x", "BYTES", ["a", "b"]), ("BYTES", [2], ["a", "b"])),
    (column("double"), one("x", "FP64", [1.5, None]), ("FP64", [2], [1.5, None])),
    (column("binary"), one("x", "BYTES", ["aGk="]), ("BYTES", [1], ["aGk="])),
    (column("array", items={"type": "long"}), one("x", "INT64", [1, 2], [1, 2]), ("INT64", [1, 2], [1, 2])),
    (column("object", properties={}), one("x", "BYTES", ['{"a": 1}']), ("INT64", [1], [1])),
]


@pytest.mark.parametrize(("kind", "given", "expected"), HINTED)
def test_type_hints_are_taken_item_by_item(
    environment: Path, tmp_path: Path, kind: Any, given: Any, expected: Any
) -> None:
    hinted = "is_signature_from_type_hint: true\n" + signature([kind])
    with served(environment, tmp_path, "hinted", hinted) as server:
        (found,) = outputs_of(ask(server, request(given))).values()
        assert found == expected


def test_several_tensors_are_the_fields_of_what_type_hints_name(environment: Path, tmp_path: Path) -> None:
    hinted = "is_signature_from_type_hint: true\n" + signature([column("object", properties={})])
    with served(environment, tmp_path, "hinted", hinted) as server:
        found = outputs_of(ask(server, request(one("a", "INT64", [1, 2]), one("b", "BYTES", ["x", "y"]))))
        assert found == {"a": ("INT64", [2], [1, 2]), "b": ("BYTES", [2], ["x", "y"])}
