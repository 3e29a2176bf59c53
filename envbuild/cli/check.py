"""``envbuild check``: whether an override is safe."""

from __future__ import annotations

import sys
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
from envbuild.cli.output import open_output

if TYPE_CHECKING:
    from envbuild.review.check import Expected
    from envbuild.sample import Sample

_NUMBERS = ("tolerance", "absolute_tolerance")


@click.command("check", cls=ModelCommand)
@model_argument
@click.option("--input", "source", metavar="FILE", help="What to predict on; - is standard input.")
@click.option("--content-type", metavar="TYPE", help="What the input holds, where its ending does not say it.")
@click.option("--expected", "known", type=click.Path(path_type=Path), help="Compare with the answer in this file.")
@click.option("--only-overridden", is_flag=True, help="Only see whether the overridden environment predicts.")
@click.option("--tolerance", type=float, metavar="NUMBER", help="Part by which numbers may differ (default: 1e-6).")
@click.option("--absolute-tolerance", type=float, metavar="NUMBER", help="Or by how much (default: 1e-9).")
@click.option("--report", "target", type=click.Path(path_type=Path), help="Write a report to this .md or .json file.")
@worker_options
@lock_options
@output_options
def command(model: str, target: Path | None, **options: Any) -> int:
    """Predict with MODEL in its own environment and in the overridden one, and compare the answers.

    The input is the model's own example, or one made from its signature. Without an override it is only seen whether
    the model works. The exit code is 0 where the answers are the same, 10 where they differ, 11 where something fails.
    """
    from envbuild import pipeline
    from envbuild.review import check, report

    with open_output(options, "check") as output:
        report.check_name(target)
        given = _options(options)
        settings = settings_from(options)
        found = check.check(model, settings, given, output.report, output.model_stderr())
        notices = [*pipeline.absent_variables(settings), *(notice for one in found.tried for notice in one.notices)]
        output.notices(notices)
        if target is not None:
            report.write(found, target)
        output.result(report.to_dict(found), report.text(found), list(dict.fromkeys(notices)))
    return found.exit_code


def _options(options: dict[str, Any]) -> Any:
    """What is compared with what, how closely; those options are taken out."""
    from envbuild.review.check import CheckOptions
    from envbuild.review.comparison import ABSOLUTE, RELATIVE, Tolerance

    relative, absolute = (options.pop(name) for name in _NUMBERS)
    tolerance = Tolerance(
        relative=RELATIVE if relative is None else relative, absolute=ABSOLUTE if absolute is None else absolute
    )
    return CheckOptions(
        sample=_sample(options.pop("source"), options.pop("content_type")),
        expected=_expected(options.pop("known")),
        only_overridden=options.pop("only_overridden"),
        tolerance=tolerance,
    )


def _sample(source: str | None, content_type: str | None) -> Sample | None:
    from envbuild import sample
    from envbuild.errors import InputNotFound
    from envbuild.request import JSON

    if source is None:
        return None
    if source != "-":
        return sample.given(Path(source), content_type)
    if sys.stdin is None:
        raise InputNotFound("--input is -, and there is no standard input", hint="give a file")
    payload = sys.stdin.buffer.read()
    return sample.Sample(kind="given", payload=payload, content_type=content_type or JSON, text="standard input")


def _expected(path: Path | None) -> Expected | None:
    from envbuild.errors import InputError
    from envbuild.request import answer_of, read_input
    from envbuild.review.check import Expected

    if path is None:
        return None
    try:
        return Expected(answer=answer_of(read_input(path)), text=str(path))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the expected answer {path} is not JSON: {error}", hint="envbuild predict -o writes one"
        ) from None
