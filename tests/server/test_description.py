"""The description that a server gives: its examples are sent and answered, and others' tools find nothing wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Server
from described import COUNT, HEART, KINDS, column, copy_of, serving, tensor, write_signed
from jsonschema import Draft202012Validator

HINTED = {"inputs": [column("object", properties={"question": {"type": "string"}})]}
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


def write(kind: str, place: Path) -> Path:
    if kind == "bare":
        return write_signed(place / kind, None, example={"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}})
    if kind == "hinted":
        return write_signed(place / kind, HINTED, more="is_signature_from_type_hint: true\n")
    if kind == "hostile":
        names = ("</script>", 'a"b', "it's", "größe", "a,b", "two\nlines")
        return write_signed(place / kind, {"inputs": [column("double", name) for name in names]})
    if kind in KINDS:
        return write_signed(place / kind, KINDS[kind])
    return copy_of(HEART.parents[1] / kind, place / HEART.name)


@pytest.fixture(scope="module")
def heart(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(HEART, shared_home, tmp_path_factory.mktemp("heart")) as server:
        yield server


@pytest.fixture(scope="module")
def plain(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("plain")
    with serving(write("plain", place), shared_home, place) as server:
        yield server


def read(server: Server, path: str = "/openapi.json") -> dict[str, Any]:
    answer = server.ask("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


def send_all(server: Server) -> list[tuple[str, str]]:
    """Send every example of both descriptions; each is answered, as is said."""
    document, sent = read(server), []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                for name, example in body.get("examples", {}).items():
                    value = example["value"]
                    payload = value if isinstance(value, str) else json.dumps(value)
                    answer = server.ask("POST", path, payload.encode(), kind)
                    assert answer.status == 200, (path, kind, name, answer.body)
                    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
                    Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json)
                    sent.append((path, name if kind == "application/json" else kind))
    for path, methods in read(server, "/swagger.json")["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                value = parameter["schema"].get("example")
                if value is not None:
                    answer = server.ask("POST", path, json.dumps(value).encode(), "application/json")
                    assert answer.status == 200, (path, answer.body)
    return sent


@pytest.mark.slow
def test_every_example_for_heart_is_answered(heart: Server) -> None:
    sent = send_all(heart)
    assert {("/invocations", name) for name in ("dataframe_split", "instances", "inputs", "text/csv")} < set(sent)
    assert ("/score", "input_data") in sent
    assert any(path.endswith("/infer") for path, _ in sent)


@pytest.mark.slow
def test_every_example_for_every_plain_type_with_params_is_answered(plain: Server) -> None:
    assert len(send_all(plain)) >= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "every-type",
        "flat",
        "unnamed",
        "tensor",
        "tensors",
        "hinted",
        "bare",
        "hostile",
        "py38_mlflow1_30/heart",
        "py38_mlflow2_1/heart",
        "py310_mlflow2_17/heart",
        "py311_mlflow3_17/tensor",
        "py311_mlflow3_17/lgbm",
        "py36_mlflow1_2/heart",
    ],
)
def test_every_example_is_answered(kind: str, shared_home: Path, tmp_path: Path) -> None:
    with serving(write(kind, tmp_path), shared_home, tmp_path / "log") as server:
        sent = send_all(server)
    assert sent or kind == "py36_mlflow1_2/heart"


def test_all_that_is_described_is_there(heart: Server) -> None:
    for path, methods in read(heart)["paths"].items():
        for method, operation in methods.items():
            if method == "get":
                answer = heart.ask("GET", path)
                assert str(answer.status) in operation["responses"], (path, answer.body)


def fuzz(server: Server, place: Path, *checks: str, examples: int = 12) -> None:
    """Ask what schemathesis makes of the description: right and wrong bodies, other methods, other headers."""
    # It reads no proxies and writes nothing but a folder where it runs.
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json",
            "--checks", ",".join((*CHECKS, *checks)), "--max-examples", str(examples), "--seed", "1",
            "--phases", "coverage,fuzzing", "--no-shrink", "--continue-on-failure", "--warnings", "off",
        ],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout, done.stdout
    # So uvicorn says that an application of its raised; tracebacks of the model's own are another matter.
    assert "ASGI" not in server.stderr
    assert server.ping() == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["heart", *(pytest.param(kind, marks=pytest.mark.soak) for kind in ("iris", "tensor"))]
)
def test_schemathesis_finds_nothing_wrong_with_a_real_model(kind: str, shared_home: Path, tmp_path: Path) -> None:
    with serving(HEART.with_name(kind), shared_home, tmp_path) as server:
        fuzz(server, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "tensors"])
def test_schemathesis_finds_no_5xx_at_all_where_the_model_raises_none(
    kind: str, shared_home: Path, tmp_path: Path
) -> None:
    signature = {**KINDS[kind], "outputs": [tensor("int64", [-1])]}
    with serving(write_signed(tmp_path / "model", signature, loader=COUNT), shared_home, tmp_path / "log") as server:
        fuzz(server, tmp_path, "not_a_server_error")
