"""``envbuild predict``: the main job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import (
    ModelCommand,
    lock_options,
    model_argument,
    output_options,
    settings_from,
    worker_options,
)
from envbuild.cli.output import Output, open_output
from envbuild.errors import InputNotFound

if TYPE_CHECKING:
    from envbuild.bridge import Prediction
    from envbuild.model import Model, Notice
    from envbuild.pipeline import Built


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where the input comes from, and what it is."""

    payload: Callable[[], bytes]
    """Reads it: standard input may let us wait."""
    content_type: str
    encoding: str | None

    @classmethod
    def of(cls, given: str | None, content_type: str | None, encoding: str | None, model: Model) -> _Source:
        """The input that a call names.

        :raises InputNotFound: it is not there.
        """
        from envbuild.request import JSON, content_type_of, encoding_of, read_input

        if given == "-":
            if sys.stdin is None:
                raise InputNotFound("INPUT is -, and there is no standard input", hint="give a file")
            return cls(payload=sys.stdin.buffer.read, content_type=content_type or JSON, encoding=encoding)
        if given is not None:
            path = Path(given)
            # At once: it may not be there, and it is here in no time.
            payload, kind = read_input(path), content_type or content_type_of(path)
            return cls(payload=lambda: payload, content_type=kind, encoding=encoding or encoding_of(path))
        from envbuild import sample

        example = sample.of_example(model)
        if example is None:
            what = "no input example" if model.input_example is None else "an input example that no request can carry"
            raise InputNotFound(f"no INPUT was given, and the model has {what}", hint="give a file, or -")
        payload = example.payload
        return cls(payload=lambda: payload, content_type=content_type or example.content_type, encoding=None)


@click.command("predict", cls=ModelCommand)
@model_argument
@click.argument("input", required=False, metavar="[INPUT]")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Write the answer to this file.")
@click.option("--content-type", metavar="TYPE", help="What INPUT holds, where its ending does not say it.")
@click.option("--content-encoding", type=click.Choice(["gzip", "identity"]), help="How INPUT is compressed, likewise.")
@click.option("--nan", type=click.Choice(["null", "string", "error"]), help="What NaN becomes (default: null).")
@click.option("--keep-warm", metavar="TIME", help="Leave the worker behind for the next call, for so long (10m).")
@worker_options
@lock_options
@output_options
def command(model: str, target: Path | None, **options: Any) -> None:
    """Predict with MODEL in its own environment, and print the answer as JSON.

    INPUT is a JSON, CSV, JSON Lines, Parquet or Arrow file (compressed where it ends in .gz), or - for standard
    input; without it the model's own input example is used. The environment is locked and built at the first call and
    reused afterwards.
    """
    from envbuild import pipeline
    from envbuild.files import check_target
    from envbuild.resident.calling import Call

    given, kinds = options.pop("input"), (options.pop("content_type"), options.pop("content_encoding"))
    with open_output(options, "predict") as output:
        check_target(target)
        settings = settings_from(options)
        with Call(Path(model), settings) as call:
            asked = pipeline.ask(model, settings, output.report)
            output.notices(asked.spec.notices)
            source = _Source.of(given, *kinds, asked.model)
            built = pipeline.provide(asked, settings, output.report)
            absent = pipeline.absent_variables(settings)
            output.notices((*built.notices, *absent))
            output.detail(f"environment {built.environment.path}")
            with call.worker(built, output.model_stderr()) as worker:
                # The worker is at work already: whatever takes its time comes after its start.
                output.notices(call.notices())
                for said in (worker.loading, *worker.restraints):
                    output.detail(said)
                prediction = worker.predict(source.payload(), source.content_type, source.encoding)
        _say(prediction, built, (*absent, *call.notices()), target, output)


def _say(prediction: Prediction, built: Built, absent: tuple[Notice, ...], target: Path | None, output: Output) -> None:
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
        output.result(facts, "", (*built.notices, *absent, *notices), answer if wrapped else {"answer": answer})
    elif target is None:
        output.write(prediction.payload + b"\n")
