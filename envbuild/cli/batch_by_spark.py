"""``envbuild batch --engine spark``: the same by Apache Spark."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import stated
from envbuild.cli.output import Output
from envbuild.errors import UsageError
from envbuild.spark.batch import Plan, Progress
from envbuild.spark.batch import run as run_by_spark
from envbuild.spark.shipping import Order

if TYPE_CHECKING:
    from envbuild.spark.recipe import Ship

# How often a line says how far it is.
_LINE_SECONDS = 10.0


def run(model: str, sources: tuple[str, ...], target: str, options: dict[str, Any], output: Output) -> None:
    """Predict the rows of what Spark reads, and print what became of them.

    :raises EnvbuildError: as :func:`envbuild.spark.batch.run`.
    """
    plan, order = _asked(sources, target, options)
    quiet = bool(click.get_current_context().params.get("quiet"))
    done = run_by_spark(model, plan, order, tell=_Shown(quiet=quiet), notify=output.notices, report=output.report)
    rate = f", {done.rows / done.seconds:,.0f} rows/s" if done.seconds else ""
    failed = f", {done.failed:,} failed" if done.failed else ""
    said = f"{done.rows:,} rows in {done.seconds:.1f} s by Spark {done.spark}{rate}{failed}\n{done.target}"
    output.result(done.to_dict(), said, done.notices)


def _asked(sources: tuple[str, ...], target: str, options: dict[str, Any]) -> tuple[Plan, Order]:
    if options.pop("resume"):
        raise UsageError("a job of Spark's is not resumed", hint="--restart begins anew; --engine local resumes")
    given = {name: options.pop(name) for name in ("on_error", "chunk_rows", "restart", "content_type", "to", "keep")}
    conf = dict(_pair(one) for one in options.pop("conf"))
    master = options.pop("master") or "local[*]"
    ship: Ship = options.pop("ship") or "auto"
    plan = Plan(
        sources=sources,
        target=target,
        master=master,
        conf=conf,
        result_type=options.pop("result_type"),
        multi_line=options.pop("multi_line"),
        **given,
    )
    return plan, Order(ship=ship, settings=stated(options))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--conf {text} is not NAME=VALUE")
    return name, value


class _Shown:
    """How far it is, on stderr: a line now and then."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began = self._said = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        now = time.monotonic()
        if self._quiet or now - self._said < (1.0 if sys.stderr.isatty() else _LINE_SECONDS):
            return
        self._said = now
        rate = progress.rows / max(now - self._began, 0.001)
        tasks = f", {progress.tasks} of {progress.of_tasks} tasks" if progress.of_tasks else ""
        click.echo(f"predicted {progress.rows:,} rows, {rate:,.0f} rows/s{tasks}", err=True)
