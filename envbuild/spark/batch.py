"""``envbuild batch --engine spark``: files that Spark reads, predicted, and written by it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envbuild.batching.places import form_of
from envbuild.batching.result import Form, OnError
from envbuild.errors import EnvbuildError, InputError, SparkFailed, SparkUnavailable, UsageError, error_from
from envbuild.model import Model, Notice
from envbuild.progress import Report, silent

if TYPE_CHECKING:
    from envbuild.spark.shipping import Order

_TOLD_SECONDS: Final = 0.5
_CONF: Final = {
    "spark.ui.showConsoleProgress": "false",
    # What an executor says is said once, by us.
    "spark.log.level": "OFF",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What Spark reads and writes, and where it runs."""

    sources: tuple[str, ...]
    """Paths, globs and URIs, as Spark has them."""
    target: str
    """A folder, which Spark makes."""
    master: str = "local[*]"
    conf: Mapping[str, str] = field(default_factory=dict)
    """Settings of Spark's."""
    content_type: str | None = None
    """What the sources hold, where their endings do not say it."""
    to: Form | None = None
    """What the target is to be, likewise."""
    keep: tuple[str, ...] = ()
    on_error: OnError = "stop"
    chunk_rows: int | None = None
    result_type: str | None = None
    multi_line: bool = False
    """Records of a CSV may have line ends in quotes: a file is then read by one task."""
    restart: bool = False
    """Replace a target that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is, by the tasks that have ended."""

    rows: int
    tasks: int
    of_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a job came to."""

    rows: int
    """Those that were written."""
    failed: int
    """Rows that were left out, or became nulls."""
    seconds: float
    lock_hash: str
    target: str
    master: str
    spark: str
    """Spark's version."""
    notices: tuple[Notice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        said = asdict(self)
        del said["notices"]
        return {**said, "engine": "spark", "seconds": round(self.seconds, 3)}


def run(
    model: str,
    plan: Plan,
    order: Order,
    *,
    tell: Callable[[Progress], None] = lambda progress: None,
    notify: Callable[[tuple[Notice, ...]], None] = lambda notices: None,
    report: Report = silent,
) -> Done:
    """Predict all rows of the sources by Spark, and write the target.

    :param tell: hears how far it is.
    :param notify: hears what should be known before it begins.
    :raises SparkUnavailable: there is no Spark, no Java, or nobody at the master's address.
    :raises SparkFailed: Spark failed in its own affairs.
    :raises EnvbuildError: as :func:`envbuild.spark.predict`; of rows that fail it says which.
    """
    _check()
    _check_target(plan)
    began = time.monotonic()
    with _session(plan) as session, _explained(plan):
        from envbuild.spark import shipping

        try:
            told = shipping.shipped(session, model, order, report)
            notify((*told.asked.spec.notices, *told.notices))
            rows, failed = _written(session, plan, told, tell, report)
        finally:
            shipping.remove_sent()
        return Done(
            rows=rows,
            failed=failed,
            seconds=time.monotonic() - began,
            lock_hash=told.source.lock_hashes[0],
            target=plan.target,
            master=plan.master,
            spark=str(session.version),
            notices=told.notices,
        )


def _written(session: Any, plan: Plan, told: Any, tell: Callable[[Progress], None], report: Report) -> tuple[int, int]:
    """Write the target; how many rows it has, and how many failed."""
    from pyspark.sql import Observation, functions

    from envbuild.spark.frames import predicted

    context = session.sparkContext
    rows, failed = context.accumulator(0), context.accumulator(0)

    def counted(count: int, bad: int) -> None:
        rows.add(count)
        failed.add(bad)

    frame = predicted(
        _read(session, plan, told.model),
        told,
        keep=plan.keep,
        result_type=plan.result_type,
        on_error=plan.on_error,
        chunk_rows=plan.chunk_rows,
        counted=counted,
        report=report,
    )
    seen = Observation("envbuild")
    frame = frame.observe(seen, functions.count(functions.lit(1)).alias("rows"))
    with _watched(context, lambda: int(rows.value), tell), _nothing_half(plan):
        _write(frame, plan)
    return int(seen.get["rows"]), int(failed.value)


def _read(session: Any, plan: Plan, model: Model) -> Any:
    """The sources as a DataFrame; a record that cannot be read is an error."""
    form = form_of(plan.sources[0], plan.content_type)
    reader = session.read.option("mode", "FAILFAST")
    if form == "parquet":
        return reader.parquet(*plan.sources)
    if form == "jsonl":
        return reader.json(list(plan.sources))
    reader = reader.option("header", "true").option("escape", '"').option("multiLine", str(plan.multi_line).lower())
    names = reader.csv(list(plan.sources)).columns
    known = _types(model)
    if not known:
        return reader.option("inferSchema", "true").csv(list(plan.sources))
    from pyspark.sql.types import StringType, StructField, StructType

    fields = [StructField(name, known.get(name, StringType()), nullable=True) for name in names]
    return reader.option("enforceSchema", "false").schema(StructType(fields)).csv(list(plan.sources))


def _types(model: Model) -> dict[str, Any]:
    """The types of the signature's columns, as Spark has them."""
    from pyspark.sql.types import AtomicType

    from envbuild.spark.types import of_specs

    specs = None if model.signature is None else model.signature.written.get("inputs")
    return {name: kind for name, kind in of_specs(specs or []).items() if isinstance(kind, AtomicType)}


def _write(frame: Any, plan: Plan) -> None:
    form = form_of(plan.target, None, plan.to)
    if form == "csv":
        frame = frame.select(*(_flat(one) for one in frame.schema.fields))
    writer = frame.write.mode("overwrite" if plan.restart else "error")
    if plan.target.rstrip("/").endswith(".gz"):
        writer = writer.option("compression", "gzip")
    if form == "parquet":
        writer.parquet(plan.target)
    elif form == "jsonl":
        writer.option("ignoreNullFields", "false").json(plan.target)
    else:
        # A line with nothing in it is no record.
        nulls = {"nullValue": '""'} if len(frame.columns) == 1 else {}
        writer.options(header="true", escape='"', **nulls).csv(plan.target)


def _flat(column: Any) -> Any:
    """A column as a CSV can have it: what is nested as JSON, bytes as base64."""
    from pyspark.sql import functions, types

    from envbuild.spark.types import quoted

    found = functions.col(quoted(column.name))
    if isinstance(column.dataType, (types.ArrayType, types.MapType, types.StructType)):
        return functions.to_json(found).alias(column.name)
    if isinstance(column.dataType, types.BinaryType):
        return functions.base64(found).alias(column.name)
    return found


@contextlib.contextmanager
def _watched(context: Any, rows: Callable[[], int], tell: Callable[[Progress], None]) -> Iterator[None]:
    """Tell how far a job is, while it goes on."""
    over = threading.Event()

    def watch() -> None:
        tracker = context.statusTracker()
        while not over.wait(_TOLD_SECONDS):
            stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
            known = [stage for stage in stages if stage is not None]
            tell(
                Progress(
                    rows=rows(),
                    tasks=sum(stage.numCompletedTasks for stage in known),
                    of_tasks=sum(stage.numTasks for stage in known),
                )
            )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _nothing_half(plan: Plan) -> Iterator[None]:
    """Where it fails, no folder stays that looks like an output."""
    target = Path(plan.target)
    was_there = target.exists()
    try:
        yield
    except BaseException:
        if not was_there and target.is_dir() and not (target / "_SUCCESS").exists():
            shutil.rmtree(target, ignore_errors=True)
        raise


@contextlib.contextmanager
def _session(plan: Plan) -> Iterator[Any]:
    """A session at the master's, which ends with this.

    :raises SparkUnavailable: there is nobody.
    """
    from pyspark.sql import SparkSession

    # What executors on this machine run in, unless the deployer says otherwise.
    if plan.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(plan.master).appName("envbuild batch")
    for name, value in {**_CONF, **plan.conf}.items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        raise SparkUnavailable(
            f"Spark cannot be started at {plan.master}: {_first_line(error)}",
            hint="is the master there, and is Java (17 for Spark 4) installed, as JAVA_HOME or on PATH?",
        ) from error
    try:
        yield session
    finally:
        with contextlib.suppress(Exception):  # a context that has died cannot be stopped
            session.stop()


@contextlib.contextmanager
def _explained(plan: Plan) -> Iterator[None]:
    """What Spark raises, as what it comes from: an executor's own error, or Spark's."""
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException as error:
        raise InputError(f"Spark cannot read or write that: {_first_line(error)}") from error
    except (PySparkException, Py4JError) as error:
        found = error_in(str(error))
        if found is not None:
            raise found from error
        if "MALFORMED" in str(error).upper():
            raise InputError(
                "a record of the input is malformed, or does not fit the signature's types",
                hint="--multi-line, where records of a CSV have line ends in quotes",
                details=(_first_line(error),),
            ) from error
        raise SparkFailed(
            f"the job at {plan.master} failed: {_first_line(error)}",
            hint="--conf spark.log.level=WARN shows more of it",
        ) from error


def error_in(text: str) -> EnvbuildError | None:
    """The error of an executor (:class:`envbuild.spark.executor.Failed`) in what Spark says; ``None``: it is another's."""
    found = re.search(r"error\[([a-z-]+)\]: (.+)((?:\n  .*)*)", text)
    if found is None:
        return None
    more = [line.strip() for line in found[3].splitlines() if line.strip()]
    hint = next((line.removeprefix("hint: ") for line in more if line.startswith("hint: ")), None)
    details = [line for line in more if not line.startswith("hint: ")]
    said = {"code": found[1], "message": found[2].strip(), "hint": hint, "place": None, "details": details}
    with contextlib.suppress(KeyError):  # no code of ours
        return error_from(said)
    return None


def _first_line(error: BaseException) -> str:
    """What an error says, without a trace of Java's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if not line.startswith("An error occurred while calling")), "")
    return told.removeprefix(": ")[:300] or type(error).__name__


def _check() -> None:
    """Look whether Spark is here.

    :raises SparkUnavailable: it is not.
    """
    for name in ("pyspark", "pyarrow"):
        if importlib.util.find_spec(name) is None:
            raise SparkUnavailable(f"{name} is not installed", hint="pip install 'envbuild[spark]'")


def _check_target(plan: Plan) -> None:
    """Look whether the target can be made, before anything long begins.

    :raises UsageError: it is there already, or a stream.
    """
    if "-" in (plan.target, *plan.sources):
        raise UsageError("Spark reads and writes files, no streams", hint="--engine local takes -")
    if Path(plan.target).exists() and not plan.restart:
        raise UsageError(f"{plan.target} is there already", hint="--restart replaces it")
