"""Requests of the Open Inference Protocol as its texts have them; numpy packs the numbers."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from asking import Answer, Server

LENGTH = "inference-header-content-length"
DTYPES = {
    "BOOL": np.bool_,
    **{f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}") for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}


def packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        texts = [value.encode() if isinstance(value, str) else value for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(values, dtype=DTYPES[datatype]).tobytes()


def unpacked(datatype: str, data: bytes) -> list[Any]:
    if datatype != "BYTES":
        return list(np.frombuffer(data, dtype=DTYPES[datatype]).tolist())
    found = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        found.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return found


def one(
    name: str, datatype: str, values: Sequence[Any], shape: Sequence[int] | None = None, **more: Any
) -> dict[str, Any]:
    """An input with its data in JSON."""
    return {"name": name, "datatype": datatype, "shape": list(shape or [len(values)]), "data": values, **more}


def ask(server: Server, request: Mapping[str, Any], *, model: str = "model", headers: Mapping[str, str] = {}) -> Answer:
    """Ask with JSON alone."""
    return server.ask("POST", f"/v2/models/{model}/infer", json.dumps(request).encode(), "application/json", headers)


def as_binary(request: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The JSON and the binary data of a request whose inputs have flat data."""
    inputs, tail = [], b""
    for given in request["inputs"]:
        data = packed(given["datatype"], given["data"])
        parameters = {**given.get("parameters", {}), "binary_data_size": len(data)}
        inputs.append({**{key: given[key] for key in given if key != "data"}, "parameters": parameters})
        tail += data
    return json.dumps({**request, "inputs": inputs}).encode(), tail


def ask_binary(server: Server, request: Mapping[str, Any], *, model: str = "model") -> Answer:
    """Ask with all inputs as binary data."""
    head, tail = as_binary(request)
    headers = {LENGTH: str(len(head))}
    return server.ask("POST", f"/v2/models/{model}/infer", head + tail, "application/octet-stream", headers)


def outputs_of(answer: Answer) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Datatype, shape and values of each output, wherever its data is."""
    assert answer.status == 200, answer.body
    length = int(answer.headers.get(LENGTH, len(answer.body)))
    head, tail = json.loads(answer.body[:length]), answer.body[length:]
    found = {}
    for output in head["outputs"]:
        values = output.get("data")
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            assert values is None
            values, tail = unpacked(output["datatype"], tail[:size]), tail[size:]
        found[output["name"]] = (output["datatype"], output["shape"], values)
    assert not tail
    return found
