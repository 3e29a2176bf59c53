"""``envbuild predict``: the main job."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import lock_options, model_argument, output_options, settings_from
from envbuild.cli.output import Output, open_output

if TYPE_CHECKING:
    from envbuild.bridge import Prediction
    from envbuild.model import Model
    from envbuild.pipeline import Built


@dataclass(frozen=True, slots=True)
class _Request:
    payload: bytes
    content_type: str


@click.command("predict")
@model_argument
@click.argument("input", required=False, metavar="[INPUT]")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Write the answer to this file.")
@click.option("--content-type", metavar="TYPE", help="What INPUT holds, where its ending does not say it.")
@click.option("--nan", type=click.Choice(["null", "string", "error"]), help="What NaN becomes (default: null).")
@click.option("--load-timeout", type=float, metavar="SECONDS", help="How long loading the model may take.")
@click.option("--predict-timeout", type=float, metavar="SECONDS", help="How long the prediction may take.")
@lock_options
@output_options
def command(model: Path, target: Path | None, **options: Any) -> None:
    """Predict with MODEL in its own environment, and print the answer as JSON.

    INPUT is a JSON, CSV, JSON Lines or Parquet file, or - for standard input; without it the model's own input
    example is used. The environment is locked and built at the first call and reused afterwards.
    """
    from envbuild import pipeline
    from envbuild.files import check_target

    source, content_type = options.pop("input"), options.pop("content_type")
    with open_output(options, "predict") as output:
        check_target(target)
        settings = settings_from(options)
        asked = pipeline.ask(model, settings)
        output.notices(asked.spec.notices)
        request = _request(source, content_type, asked.model)
        locked = pipeline.lock(asked, settings, output.report)
        built = pipeline.build(locked, settings, output.report)
        output.notices(built.notices)
        output.detail(f"environment {built.environment.path}")
        with pipeline.start(built, settings, output.model_stderr()) as worker:
            prediction = worker.predict(request.payload, request.content_type)
        _say(prediction, built, target, output)


def _request(source: str | None, content_type: str | None, model: Model) -> _Request:
    from envbuild.errors import InputNotFound
    from envbuild.request import JSON, content_type_of, read_input

    if source == "-":
        if sys.stdin is None:
            raise InputNotFound("INPUT is -, and there is no standard input", hint="give a file")
        return _Request(sys.stdin.buffer.read(), content_type or JSON)
    if source is not None:
        return _Request(read_input(Path(source)), content_type or content_type_of(Path(source)))
    from envbuild.review import sample

    example = sample.of_example(model)
    if example is None:
        what = "no input example" if model.input_example is None else "an input example that no request can carry"
        raise InputNotFound(f"no INPUT was given, and the model has {what}", hint="give a file, or -")
    return _Request(example.payload, content_type or example.content_type)


def _say(prediction: Prediction, built: Built, target: Path | None, output: Output) -> None:
    from envbuild.files import write_whole
    from envbuild.model import Notice

    notices = []
    if prediction.nulls:
        message = f"{prediction.nulls} values of the answer were NaN or infinite and are null (--nan changes that)"
        notices.append(Notice(code="nan-null", message=message))
        output.notices(notices)
    if target is not None:
        write_whole(target, prediction.payload + b"\n")
    if output.as_json:
        answer = json.loads(prediction.payload)
        wrapped = isinstance(answer, dict) and set(answer) == {"predictions"}
        facts = {"nulls": prediction.nulls, "lock_hash": built.environment.lock_hash, "built": built.was_built}
        output.result(facts, "", (*built.notices, *notices), answer if wrapped else {"answer": answer})
    elif target is None:
        output.write(prediction.payload + b"\n")
