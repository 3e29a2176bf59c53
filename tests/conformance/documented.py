"""The cases of MLflow's published documentation of the protocol, and what stands there about them.

From the pages "Deploy MLflow Model as a Local Inference Server" and "Model Signatures and Input Examples" of MLflow 2
and 3, and "MLflow Models" of MLflow 1. The pages give the bodies; where a page says what the model is given, that is
stated as well, and held against both sides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from eras import NESTED, OPTIONAL, PARAMS, TENSORS
from old_bodies import RECORDS, SPLIT
from sides import CSV, JSON, Case


@dataclass(frozen=True, kw_only=True)
class Documented:
    """A documented case."""

    name: str
    case: Case
    needs: frozenset[str] = frozenset()
    """What an era must know."""
    refused: bool = False
    """The page says so, or the page is not up to date with MLflow."""
    differs: str | None = None
    """The named difference that it shows."""


def _columns(**types: str) -> list[dict[str, Any]]:
    return [{"name": name, "type": kind} for name, kind in types.items()]


def _documented(
    name: str,
    body: Any,
    inputs: list[dict[str, Any]] | None = None,
    *needs: str,
    params: list[dict[str, Any]] | None = None,
    kind: str = JSON,
    refused: bool = False,
    differs: str | None = None,
) -> Documented:
    signature: Any = None if inputs is None else {"inputs": inputs, **({"params": params} if params else {})}
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    case = Case(signature=signature, body=payload, content_type=kind, why=name)
    return Documented(name=name, case=case, needs=frozenset(needs), refused=refused, differs=differs)


def _param(name: str, kind: str, default: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "default": default, "shape": [-1] if isinstance(default, list) else None}


def _tensor(dtype: str, shape: list[int], **more: str) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **more}


_IRIS = [
    {"type": "double", "name": "sepal_length"},
    {"type": "double", "name": "sepal_width"},
    {"type": "string", "name": "species", "required": False},
]
_CHAT = {"messages": [{"role": "user", "content": "Tell a joke!"}]}
_CHAT_TYPE = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"role": {"type": "string", "required": True}, "content": {"type": "string", "required": True}},
    },
}
_USER = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "required": True},
        "age": {"type": "long", "required": True},
        "preferences": {"type": "array", "items": {"type": "string"}, "required": True},
    },
}
_GENERATION = [
    _param("temperature", "double", 0.7),
    _param("max_tokens", "long", 100),
    _param("stop_words", "string", [".", "!"]),
]
_TALK = [_param("temperature", "double", 1.0), _param("max_tokens", "long", 50)]
_QUESTION = {
    "question": ["What color is it?"],
    "context": ["Some people said it was green but I know that it is pink."],
}
_PAIRS = [[1, 2], [3, 4], [5, 6]]
_PERSON = {"user_profile": {"name": "Alice", "age": 30, "preferences": ["sports", "music"]}}
_TABLE = {"columns": ["a", "b"], "data": [[1, 2.5], [3, 4.5]]}
_LISTS = {"simple_list": ["a", "b", "c"], "nested_array": [[1, 2], [3, 4], [5, 6]]}
_LISTS_TYPE = [
    {"name": "simple_list", "type": "array", "items": {"type": "string"}},
    {"name": "nested_array", "type": "array", "items": {"type": "array", "items": {"type": "long"}}},
]
_TENSORS_OF_1 = [_tensor("str", [-1], name="a"), _tensor("int64", [-1], name="b"), _tensor("int64", [-1, 3], name="c")]
_ROWS_OF_1 = [{"a": f"s{row}", "b": row, "c": [3 * row - 2, 3 * row - 1, 3 * row]} for row in (1, 2, 3)]
_INPUTS_OF_1 = {name: [row[name] for row in _ROWS_OF_1] for name in "abc"}
_BINARY = [{"a": row, "b": f"dGVzdCBiaW5hcnkgZGF0YSA{letter}"} for row, letter in enumerate("wxy")]
_MOMENTS = [
    {"a": 0, "b": "2020-01-01T00:00:00Z"},
    {"a": 1, "b": "2020-02-01T12:34:56Z"},
    {"a": 2, "b": "2021-03-01T00:00:00Z"},
]

# Deploy MLflow Model as a Local Inference Server, and the signatures beside it.
TODAY = (
    _documented("the first request", {"inputs": _PAIRS}),
    _documented("the first request, for a tensor", {"inputs": _PAIRS}, [_tensor("float64", [-1, 2])], TENSORS),
    _documented("the type with a semicolon", {"inputs": _PAIRS}, kind="application/json;"),
    _documented("a CSV", b"1,2,3,4", kind=CSV),
    _documented("dataframe_split", {"dataframe_split": {**_TABLE, "index": [0, 1]}}, _columns(a="long", b="double")),
    _documented("dataframe_split without a signature", {"dataframe_split": {**_TABLE, "index": [0, 1]}}),
    _documented("dataframe_records", {"dataframe_records": [{"a": 1, "b": 2.5}]}, _columns(b="double", a="long")),
    _documented("instances", {"instances": [1.0, 2.0, 5.0]}),
    _documented("instances for a tensor", {"instances": [1.0, 2.0, 5.0]}, [_tensor("float32", [-1])], TENSORS),
    # With numpy before 1.24 lists of different lengths were an array of lists; today's rules refuse them.
    _documented("inputs of different lengths", {"inputs": [["Cheese"], ["and", "Crackers"]]}, refused=True),
    _documented(
        "a chat in inputs",
        {"inputs": _CHAT, "params": {"temperature": 0.5, "max_tokens": 20}},
        [{**_CHAT_TYPE, "name": "messages"}],
        PARAMS,
        NESTED,
        params=_TALK,
    ),
    _documented(
        "a question with params",
        {"inputs": _QUESTION, "params": {"max_answer_len": 10}},
        _columns(question="string", context="string"),
        PARAMS,
        params=[_param("max_answer_len", "long", 5)],
    ),
    _documented(
        "a chat as it is",
        {**_CHAT, "temperature": 0.0},
        [{**_CHAT_TYPE, "name": "messages"}],
        PARAMS,
        NESTED,
        params=_TALK,
    ),
    _documented(
        "a chat with two params",
        {**_CHAT, "temperature": 0.5, "max_tokens": 20},
        [{**_CHAT_TYPE, "name": "messages"}],
        PARAMS,
        NESTED,
        params=_TALK,
    ),
    _documented("binary in records", {"dataframe_records": _BINARY}, _columns(a="long", b="binary")),
    _documented(
        "an optional column is absent",
        {"dataframe_records": [{"sepal_length": 5.1, "sepal_width": 3.5}]},
        _IRIS,
        OPTIONAL,
    ),
    _documented(
        "a required column is absent",
        {"dataframe_records": [{"sepal_length": 5.1, "species": "x"}]},
        _IRIS,
        OPTIONAL,
        refused=True,
    ),
    _documented(
        "an extra column is ignored",
        {"dataframe_records": [{"more": 1, "sepal_length": 5.1, "sepal_width": 3.5, "species": "x"}]},
        _IRIS,
        OPTIONAL,
    ),
    _documented("images", {"inputs": [[[[0], [255]], [[7], [8]]]]}, [_tensor("uint8", [-1, 2, 2, 1])], TENSORS),
    _documented(
        "images of another size", {"inputs": [[[[0], [255]]]]}, [_tensor("uint8", [-1, 2, 2, 1])], TENSORS, refused=True
    ),
    _documented("attention masks", {"inputs": [[True, False]]}, [_tensor("bool", [-1, 2])], TENSORS),
    _documented("a tensor of a fixed length", {"inputs": [1.5] * 10}, [_tensor("float32", [10])], TENSORS),
    _documented("defaults of params", {"inputs": ["hello"]}, _columns(text="string"), PARAMS, params=_GENERATION),
    _documented(
        "params of a call",
        {"inputs": ["hello"], "params": {"temperature": 0.1, "stop_words": []}},
        _columns(text="string"),
        PARAMS,
        params=_GENERATION,
    ),
    _documented(
        "an unknown param is ignored",
        {"inputs": ["hello"], "params": {"more": 1}},
        _columns(text="string"),
        PARAMS,
        params=_GENERATION,
    ),
    _documented(
        "a param of another type",
        {"inputs": ["hello"], "params": {"max_tokens": "many"}},
        _columns(text="string"),
        PARAMS,
        params=_GENERATION,
        refused=True,
    ),
    _documented(
        "a list param without a list",
        {"inputs": ["hello"], "params": {"stop_words": "."}},
        _columns(text="string"),
        PARAMS,
        params=_GENERATION,
        refused=True,
    ),
    _documented("an object", {"inputs": _PERSON}, [{**_USER, "name": "user_profile"}], NESTED),
    _documented("lists", {"inputs": _LISTS}, _LISTS_TYPE, NESTED),
    _documented(
        "an integer column with a null",
        {"dataframe_split": {"columns": ["int_col"], "data": [[1], [2], [None]]}},
        _columns(int_col="long"),
        refused=True,
    ),
    _documented(
        "the same as double",
        {"dataframe_split": {"columns": ["int_col"], "data": [[1], [2], [None]]}},
        _columns(int_col="double"),
    ),
)

# MLflow Models of MLflow 1, for its own scoring server.
THEN = (
    _documented("split", {"columns": ["a", "b", "c"], "data": [[1, 2, 3], [4, 5, 6]]}),
    _documented("named split", {"columns": ["a", "b", "c"], "data": [[1, 2, 3], [4, 5, 6]]}, kind=SPLIT),
    _documented("split with a signature", _TABLE, _columns(a="long", b="double")),
    _documented("named records", [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 5, "c": 6}], kind=RECORDS),
    _documented("records", [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 5, "c": 6}]),
    _documented("instances", {"instances": _ROWS_OF_1}, _TENSORS_OF_1, TENSORS),
    _documented("instances without a signature", {"instances": _ROWS_OF_1}),
    _documented("inputs", {"inputs": _INPUTS_OF_1}, _TENSORS_OF_1, TENSORS),
    _documented("inputs without a signature", {"inputs": _INPUTS_OF_1}),
    _documented("binary in records", _BINARY, _columns(a="long", b="binary")),
    _documented("CSV", b"a,b\n1,2.5\n3,4.5\n", _columns(a="long", b="double"), kind=CSV),
)
