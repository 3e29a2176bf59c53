"""``envbuild batch``: a table of any size, chunk by chunk."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import (
    ModelCommand,
    batch_lock_options,
    model_argument,
    output_options,
    settings_from,
    worker_options,
)
from envbuild.cli.output import Output, open_output

if TYPE_CHECKING:
    from envbuild.batching import Batch, Options, Progress
    from envbuild.batching.places import Plan

# On a pipe, how often a line says how far it is.
_LINE_SECONDS = 10.0


@click.command("batch", cls=ModelCommand)
@model_argument
@click.argument("sources", nargs=-1, required=True, metavar="IN...")
@click.argument("target", metavar="OUT")
@click.option("--workers", metavar="N", help="How many workers predict side by side (default: 1).")
@click.option("--chunk-rows", type=click.IntRange(min=1), metavar="N", help="How many rows are predicted at once.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip", "null"]),
    default="stop",
    help="What becomes of a row that fails (default: the batch stops).",
)
@click.option("--resume", is_flag=True, help="Go on where the last batch to OUT ended.")
@click.option("--restart", is_flag=True, help="Throw away what an unfinished batch to OUT has left.")
@click.option("--keep", multiple=True, metavar="COLUMN", help="Put this column of the input before the answer.")
@click.option("--content-type", metavar="TYPE", help="What IN holds, where its ending does not say it.")
@click.option("--to", type=click.Choice(["csv", "jsonl", "parquet"]), help="What OUT is, likewise.")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(["local", "spark", "uv", "pip", "auto"]),
    help="What predicts: local (default) or spark (docs/spark.md); and what resolves and installs: uv, pip or auto.",
)
@click.option("--master", metavar="URL", help="With spark: where it runs (default: local[*]).")
@click.option("--conf", multiple=True, metavar="NAME=VALUE", help="With spark: a setting of its own.")
@click.option(
    "--ship",
    type=click.Choice(["auto", "nothing", "model", "bundle"]),
    help="With spark: what executors are sent (default: a bundle, unless they are on this machine).",
)
@click.option("--result-type", metavar="TYPE", help="With spark: what the model answers, in Spark's words.")
@click.option("--multi-line", is_flag=True, help="With spark: records of a CSV have line ends in quotes.")
@click.option("--nan", type=click.Choice(["null", "string", "error"]), help="What NaN becomes (default: null).")
@worker_options
@batch_lock_options
@output_options
def command(model: str, sources: tuple[str, ...], target: str, **options: Any) -> None:
    """Predict every row of IN with MODEL in its own environment, and write the answers to OUT in the same order.

    IN are CSV, JSON Lines or Parquet files of any size, globs in quotes, folders, or - for standard input. OUT is a file,
    a folder (a file each), or - for standard output. OUT appears when it is complete; until then it is OUT.partial,
    with which --resume goes on after a crash. With --engine spark they are what Spark reads and writes, by their paths
    or URIs.
    """
    from envbuild import batching, pipeline
    from envbuild.batching import places, working

    by_spark = {name: options.pop(name) for name in ("master", "conf", "ship", "result_type", "multi_line")}
    engine, options["engine"] = _engines(options.pop("engines"))
    with open_output(options, "batch") as output:
        if engine == "spark":
            from envbuild.cli.batch_by_spark import run

            run(model, sources, target, {**options, **by_spark}, output)
            return
        _check_local(by_spark)
        asked_for = _options(options)
        plan = places.plan(sources, target, asked_for)
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report)
        output.notices((*asked.spec.notices, *(said := working.notices(asked.model))))
        built = pipeline.provide(asked, settings, output.report)
        absent = pipeline.absent_variables(settings)
        output.notices((*built.notices, *absent))
        output.rest()
        with _Shown(output, quiet=bool(click.get_current_context().params.get("quiet"))) as shown:
            done = batching.run(built, settings, plan, asked_for, tell=shown, stderr=output.model_stderr())
        _say(done, plan, (*built.notices, *absent, *said), output)


def _engines(given: tuple[str, ...]) -> tuple[str, str | None]:
    """What predicts, and what resolves and installs; of each the last that was said."""
    predicting = [one for one in given if one in ("local", "spark")]
    building = [one for one in given if one not in ("local", "spark")]
    return predicting[-1] if predicting else "local", building[-1] if building else None


def _check_local(by_spark: dict[str, Any]) -> None:
    from envbuild.errors import UsageError

    if said := [name for name, value in by_spark.items() if value]:
        raise UsageError(f"--{said[0].replace('_', '-')} is for --engine spark", hint="give that too, or leave it out")


def _options(options: dict[str, Any]) -> Options:
    from envbuild.batching import Options
    from envbuild.errors import UsageError

    given = {name: options.pop(name) for name in ("on_error", "chunk_rows", "resume", "restart", "content_type", "to")}
    if given["resume"] and given["restart"]:
        raise UsageError("--resume and --restart contradict each other")
    return Options(**given, keep=options.pop("keep"))


def _say(done: Batch, plan: Plan, notices: tuple[Any, ...], output: Output) -> None:
    rate = f", {done.rows / done.seconds:,.0f} rows/s" if done.seconds and not done.resumed else ""
    text = f"{done.rows:,} rows in {done.seconds:.1f} s{rate}"
    text += "".join(
        f", {count:,} {what}"
        for count, what in ((done.skipped, "skipped"), (done.nulled, "failed and null"), (done.nulls, "NaN made null"))
        if count
    )
    where = "".join(
        f"\n{path}" for file in done.files for path in (file.path, file.skipped, file.errors) if path is not None
    )
    if plan.base is None:
        # The answers are on stdout already, and nothing may stand behind them.
        if not output.as_json:
            click.echo(text, err=True)
        return
    output.result(done.to_dict(), text + where, notices)


class _Shown:
    """How far it is, on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self, output: Output, *, quiet: bool) -> None:
        self._output = output
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._began = self._said = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        if self._quiet:
            return
        now = time.monotonic()
        if sys.stderr.isatty():
            self._show(progress, self._text(progress, now))
        elif now - self._said >= _LINE_SECONDS:
            self._said = now
            click.echo(f"predicted {self._text(progress, now)}", err=True)

    def _text(self, progress: Progress, now: float) -> str:
        seconds = max(now - self._began, 0.001)
        text = f"{progress.rows:,} rows, {progress.new_rows / seconds:,.0f} rows/s"
        return text + (f", {progress.skipped:,} skipped" if progress.skipped else "")

    def _show(self, progress: Progress, text: str) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._task = self._bar.add_task("", total=None if progress.fraction is None else 1.0)
            self._bar.start()
        self._bar.update(self._task, completed=progress.fraction or 0.0, description=text)

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
