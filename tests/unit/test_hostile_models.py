"""Real models with something changed in their files: read, or refused with a code, and nothing else."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import CORPUS, ERA_MODELS, MODELS

from envbuild.errors import EnvbuildError
from envbuild.inspection import Inspection
from envbuild.model import read_model
from envbuild.spec import read_spec

NAMES = ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt")
FOLDERS = [*ERA_MODELS, *CORPUS, MODELS / "documented" / "fastai", MODELS / "documented" / "sklearn2018"]
VALUES = [
    b"null", b"[]", b"{}", b"''", b"[a, [b]]", b"{a: {b: c}}", b"../../etc/passwd", b"/etc/passwd", b"C:\\x", b"1e400",
    b".nan", b"-1", b"2021-13-45", b"9999-12-31 23:59:59", b"!!int ''", b"!!python/name:os.system", b"*x", b"&x [*x]",
    b'"a\\0b"', b'"a\\nb"', b'"\\ud800"', b"~", b"9" * 5000, b"a" * 5000, b"=", b"<<: {}", b"- " * 200, b"[" * 200,
    b"-r requirements.txt", b"-r ../x", b"-c .", b"-e .", b"-e git+https://example.invalid/x", b"-i http://[", b"--",
    b"numpy==" + b"1" * 5000, b"numpy; os_name > 'x'", b"numpy===what", b"x @ file:///tmp/x.whl", b"https://[x/y.whl",
    b"x @ file://[", b"..x @ file:///y", b"python===x", b"python=3", b"python==3", b"python=3.6*", b"numpy=*=mkl", b"$(id)", b"${HOME}",
    b"conda-forge::numpy[version='1']", b"numpy \\", b"# \\", b"\xef\xbb\xbf", b"\xff", b"\r", b"\x00", b"\xe2\x80\xa8",
]  # fmt: skip


@cache
def real_files() -> list[dict[str, bytes]]:
    return [{name: (folder / name).read_bytes() for name in NAMES if (folder / name).exists()} for folder in FOLDERS]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a real model after one to four changes."""
    files = dict(draw(st.sampled_from(real_files())))
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(files)))
        files[name] = draw(changed(files[name]))
    return files


def changed(content: bytes) -> st.SearchStrategy[bytes]:
    lines = content.splitlines(keepends=True) or [b""]
    at = st.integers(0, len(lines) - 1)
    value = st.sampled_from(VALUES) | st.binary(max_size=12)

    def with_line(number: int, *instead: bytes) -> bytes:
        return b"".join([*lines[:number], *instead, *lines[number + 1 :]])

    def with_value(number: int, new: bytes) -> bytes:
        line = lines[number]
        cut = max(line.find(b": "), line.find(b"- ")) + 2
        return with_line(number, line[: max(cut, 0) if cut > 1 else 0] + new + b"\n")

    return st.one_of(
        st.builds(lambda n, byte: content[:n] + bytes([byte]) + content[n + 1 :], st.integers(0, len(content)), _BYTE),
        st.builds(with_line, at),
        st.builds(lambda n: with_line(n, lines[n], lines[n]), at),
        st.builds(lambda n, m: with_line(n, lines[m]), at, at),
        st.builds(with_value, at, value),
        st.builds(lambda n, new: with_line(n, lines[n], new + b"\n"), at, value),
        st.builds(lambda n: content[:n], st.integers(0, len(content))),
        st.builds(lambda n: with_line(n, b"  " + lines[n]), at),
    )


_BYTE = st.integers(0, 255)


def read_or_refuse(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        model.mkdir()
        for name, content in files.items():
            (model / name).write_bytes(content)
        try:
            read = read_model(model)
            spec = read_spec(read)
            inspection = Inspection(model=read, uri="", spec=spec, notices=spec.notices).to_dict()
            assert json.loads(json.dumps(inspection))["environment"]["digest"] == spec.digest()
            assert all(d.requirement or d.path or d.kind in ("vcs", "url") for d in spec.demands)
        except EnvbuildError as error:
            assert error.code in ("model-invalid", "model-unreadable", "model-no-pyfunc", "spec-invalid")  # noqa: PT017
            assert error.message  # noqa: PT017
        assert sorted(path.name for path in Path(folder).rglob("*")) == sorted([*files, "model"])


EXAMPLES = {"derandomize": True, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=300, **EXAMPLES)  # type: ignore[arg-type]
@given(mutated())
def test_300_mutated_models_are_read_or_refused_with_a_code(files: dict[str, bytes]) -> None:
    read_or_refuse(files)


@pytest.mark.soak
@settings(max_examples=1_000, **EXAMPLES)  # type: ignore[arg-type]
@given(mutated())
def test_1_000_mutated_models_are_read_or_refused_with_a_code(files: dict[str, bytes]) -> None:
    read_or_refuse(files)


@pytest.mark.soak
@settings(max_examples=10_000, **EXAMPLES)  # type: ignore[arg-type]
@given(mutated())
def test_10_000_mutated_models_are_read_or_refused_with_a_code(files: dict[str, bytes]) -> None:
    read_or_refuse(files)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:30]))
def test_each_odd_value_in_each_place_is_read_or_refused(value: bytes) -> None:
    head = b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
    usual = {"conda.yaml": b"dependencies:\n- python=3.8\n- pip:\n  - numpy\n"}
    for key in (b"env", b"data", b"code", b"config", b"python_version", b"predict_fn", b"model_path"):
        read_or_refuse({"MLmodel": head + b"    " + key + b": " + value + b"\n", **usual})
    for key in (b"signature", b"utc_time_created", b"mlflow_version", b"flavors", b"saved_input_example_info"):
        read_or_refuse({"MLmodel": head + key + b": " + value + b"\n", **usual})
    read_or_refuse({"MLmodel": head + b"signature:\n  inputs: " + value + b"\n"})
    for text in (b"dependencies: %s\n", b"dependencies:\n- %s\n", b"dependencies:\n- pip: %s\n", b"%s\n"):
        read_or_refuse({"MLmodel": head, "conda.yaml": text % value})
    for text in (
        b"dependencies:\n- pip:\n  - %s\n",
        b"dependencies:\n- pip:\n  - '%s'\n",
        b"dependencies:\n- python=%s\n",
    ):
        read_or_refuse({"MLmodel": head, "conda.yaml": text % value})
    for text in (b"python: %s\n", b"dependencies: %s\n", b"dependencies:\n- %s\n", b"build_dependencies:\n- %s\n"):
        read_or_refuse({"MLmodel": head, "python_env.yaml": text % value})
    read_or_refuse({"MLmodel": head, "requirements.txt": value + b"\n"})
