"""The batch as a whole: what is there already, the chunks, the workers, the output, the journal."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from envbuild import faults, pipeline
from envbuild.batching import failing, journal, parquet, places, reading
from envbuild.batching.chunk import Chunk
from envbuild.batching.failing import ChunkFailed, Part
from envbuild.batching.journal import Journal, State
from envbuild.batching.places import Plan, Source
from envbuild.batching.reading import Place, Size
from envbuild.batching.result import Batch, Options, Progress, Tell
from envbuild.batching.running import Row
from envbuild.batching.writing import Output, noted, written_of
from envbuild.bridge.frames import PROTOCOL
from envbuild.errors import InputError, UsageError
from envbuild.model import Model, Notice
from envbuild.request import CSV, JSON_LINES

if TYPE_CHECKING:
    from envbuild.bridge import Pool, Prediction
    from envbuild.pipeline import Built
    from envbuild.settings import Settings

JOURNAL: Final = ".partial.journal"
FOLDER_JOURNAL: Final = "envbuild-batch.partial.journal"
# How much work a crash may cost, at the most, beyond the chunks that are being predicted.
NOTE_SECONDS = 0.5


def _nobody(progress: Progress) -> None:
    del progress


def notices(model: Model) -> tuple[Notice, ...]:
    """What to say of a model before it predicts a table in chunks."""
    if model.signature is not None and model.signature.inputs:
        return ()
    message = (
        "the model has no signature: the types of the columns are guessed anew in each chunk "
        "(a column may be whole numbers in one and have gaps in the next)"
    )
    return (Notice(code="types-by-chunk", message=message),)


def run(
    built: Built,
    settings: Settings,
    plan: Plan,
    options: Options,
    *,
    tell: Tell = _nobody,
    stderr: Callable[[bytes], None] | None = None,
) -> Batch:
    """Predict all rows of the sources, and write the targets.

    :param tell: hears how far it is, after each chunk.
    :param stderr: takes what the model prints; by default this process's own standard error.
    :raises InputError: an input cannot be read, or a row does not fit; says which.
    :raises ModelFailed: the model failed on a row; says which.
    :raises Stopped: it took too long over some rows, or was killed for its memory; says which.
    :raises UsageError: the output cannot be written, or there is a batch already that is neither resumed nor restarted.
    """
    began = time.monotonic()
    if any(target.form == "parquet" for target in plan.targets):
        parquet.check()
    _check_headers(plan)
    with ExitStack() as stack:
        state, note = _begun(stack, built, settings, plan, options)
        pool = stack.enter_context(pipeline.keep(built, settings, stderr))
        work = _Work(pool, plan, options, tell, note, state or State(chunk_rows=options.chunk_rows))
        final = work.done()
        note.remove()
    return Batch(
        rows=final.rows,
        skipped=final.skipped,
        nulled=final.nulled,
        nulls=final.nulls,
        seconds=time.monotonic() - began,
        resumed=state is not None,
        workers=settings.workers,
        chunk_rows=final.chunk_rows,
        lock_hash=built.environment.lock_hash,
        files=tuple(written_of(said) for said in final.files),
    )


class _Work:
    """A batch on its way."""

    def __init__(
        self, pool: Pool, plan: Plan, options: Options, tell: Tell, note: Journal | _NoJournal, state: State
    ) -> None:
        self._pool = pool
        self._plan = plan
        self._options = options
        self._tell = tell
        self._note = note
        self._state = state
        self._before = state.rows
        self._size = Size(state.chunk_rows)
        self._noted = time.monotonic()
        self._sizes = [0 if one.path is None else one.path.stat().st_size for one in plan.sources]
        self._output: Output | None = None
        self._is_over: Callable[[], bool] = lambda: False

    def done(self) -> State:
        """Do all that is left, and give how it stands at the end."""
        try:
            if self._state.finishing:
                self._name()
            if self._state.target < len(self._plan.targets):
                self._open()
                self._write_all()
        except BaseException:
            # What is written counts; where it cannot even be noted, the last note does.
            with suppress(UsageError, OSError):
                self._leave()
            raise
        finally:
            if self._output is not None:
                with suppress(UsageError):
                    self._output.close()
        return self._state

    def _write_all(self) -> None:
        row: Row[Chunk, tuple[Part, ...]] = Row(
            self._chunks(), self._predicted, workers=self._pool.size, interrupt=self._pool.kill
        )
        self._is_over = lambda: row.is_over
        with closing(iter(row)) as made:  # type: ignore[type-var]  # it is a generator
            try:
                for chunk, parts in made:
                    self._take(chunk, parts)
            except ChunkFailed as failed:
                source = self._plan.sources[failed.chunk.source]
                path = None if source.path is None else str(source.path)
                raise failing.explained(failed.bad, failed.chunk, source.name, path, self._state.row) from failed

    def _chunks(self) -> Iterator[Chunk]:
        """What is left to read, in order; read ahead, in a thread of its own."""
        start = self._state
        place = Place(position=start.position, lines=start.lines)
        for number in range(start.source, len(self._plan.sources)):
            yield from reading.chunks_of(number, self._plan.sources[number], place, self._size)
            place = Place()

    def _predicted(self, chunk: Chunk) -> tuple[Part, ...]:
        if chunk.is_end:
            return ()
        form = self._plan.targets[self._target_of(chunk.source)].form
        accept = CSV if form == "csv" else JSON_LINES

        def ask(payload: bytes | memoryview, content_type: str) -> Prediction:
            if self._is_over():
                raise UsageError("the batch is over")
            return self._pool.predict(payload, content_type, accept=accept, keep=self._options.keep)

        return failing.predicted(chunk, ask, self._options.on_error)

    def _target_of(self, source: int) -> int:
        return 0 if len(self._plan.targets) == 1 else source

    def _take(self, chunk: Chunk, parts: tuple[Part, ...]) -> None:
        """Write what came of a chunk, and note it when it is time."""
        output = self._output or self._open()
        if chunk.is_end:
            self._end(chunk, output)
            return
        state = output.write(chunk, parts, self._state)
        self._state = replace(state, chunk_rows=state.chunk_rows or self._size.rows)
        faults.point("chunk written")
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            self._save()
            faults.point("chunk noted")
        self._say(chunk)

    def _end(self, chunk: Chunk, output: Output) -> None:
        """A source is at its end, and perhaps its target."""
        _check_unchanged(self._plan.sources[chunk.source], self._sizes[chunk.source])
        self._state = replace(self._state, source=chunk.source + 1, position=0, lines=0, row=0)
        if self._plan.targets[self._state.target].sources[-1] != chunk.source:
            return
        output.make()
        faults.point("output made")
        self._state = replace(self._state, finishing=True)
        self._save()
        self._name()

    def _name(self) -> None:
        """Give the target its name, and go on to the next."""
        state = self._state
        if self._output is None:
            self._output = self._made(state)
        written = self._output.finish(state)
        files = state.files if written is None else (*state.files, noted(written))
        totals = {name: getattr(state, name) for name in ("rows", "skipped", "nulled", "nulls")}
        self._state = State(
            target=state.target + 1, source=state.source, chunk_rows=state.chunk_rows, files=files, **totals
        )
        self._output = None
        self._save()
        faults.point("target done")

    def _open(self) -> Output:
        output = self._output = self._made(self._state)
        output.open()
        return output

    def _made(self, state: State) -> Output:
        target = self._plan.targets[state.target]
        return Output(target, self._plan.sources[target.sources[0]], self._options, state)

    def _save(self) -> None:
        """Bring what is written to the disk, and then note it."""
        if self._output is not None and not self._state.finishing:
            self._output.sync()
            faults.point("output synced")
        self._note.note(self._state)
        self._noted = time.monotonic()

    def _leave(self) -> None:
        """It did not come to its end: note what is done, or leave nothing behind where nothing is."""
        if self._state.rows or self._state.files or self._output is None:
            self._save()
        else:
            self._output.discard()
            self._note.remove()

    def _say(self, chunk: Chunk) -> None:
        whole = sum(self._sizes)
        done = sum(self._sizes[: chunk.source]) + chunk.read
        self._tell(
            Progress(
                rows=self._state.rows,
                new_rows=self._state.rows - self._before,
                fraction=min(1.0, done / whole) if whole and self._plan.sources[chunk.source].path else None,
                skipped=self._state.skipped,
            )
        )


class _NoJournal:
    """For standard output, with which nobody can go on."""

    def note(self, state: State) -> None:
        """Nothing is noted."""

    def remove(self) -> None:
        """There is none."""


def _begun(
    stack: ExitStack, built: Built, settings: Settings, plan: Plan, options: Options
) -> tuple[State | None, Journal | _NoJournal]:
    """How far an earlier batch of this target had come, and the journal to go on with.

    :raises UsageError: there is one, and it is neither to be resumed nor to be thrown away.
    """
    if plan.base is None:
        return None, _NoJournal()
    is_folder = plan.targets[0].path != plan.base
    path = plan.base / FOLDER_JOURNAL if is_folder else plan.base.with_name(plan.base.name + JOURNAL)
    try:
        (plan.base if is_folder else plan.base.parent).mkdir(exist_ok=True, parents=is_folder)
    except OSError as error:
        raise UsageError(f"{plan.base} cannot be made: {error.strerror}") from error
    was_there = path.exists()
    if was_there and not (options.resume or options.restart):
        # Whether another has it now is the better thing to say.
        journal.opened(path).close()
        raise UsageError(
            f"an earlier batch to {plan.base} did not come to its end",
            hint="--resume goes on with it, --restart throws away what it had done",
        )
    note = journal.opened(path)
    stack.callback(note.close)
    head = _head(built, settings, plan, options)
    state = note.found(head) if was_there and options.resume else None
    if state is None:
        _forget(plan, options)
        note.begin(head)
    return state, note


def _forget(plan: Plan, options: Options) -> None:
    """Remove what an earlier batch had written."""
    for target in plan.targets:
        if target.path is not None:
            Output(target, plan.sources[target.sources[0]], options, State()).discard()


def _head(built: Built, settings: Settings, plan: Plan, options: Options) -> dict[str, Any]:
    """What a batch must be to go on with an earlier one; the keys are words for messages."""
    asked = {name: value for name, value in asdict(options).items() if name not in ("resume", "restart")}
    treated = {"nan": settings.nan, "enforce": not settings.no_enforce, "loader": settings.loader}
    return {
        "version of envbuild": f"protocol {PROTOCOL}",
        "model": _digest_of(built.locked.asked.model),
        "environment": built.environment.lock_hash,
        "input": [places.identity(source) for source in plan.sources],
        "output": [[str(target.path), target.form] for target in plan.targets],
        "choice of options": {**asked, **treated},
    }


def _digest_of(model: Model) -> str:
    """What a model is: its MLmodel, and the names and sizes of its files."""
    files = sorted(path for path in model.path.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    listed = [f"{path.relative_to(model.path)} {path.stat().st_size}" for path in files]
    whole = (model.path / "MLmodel").read_bytes() + "\n".join(listed).encode("utf-8", "surrogateescape")
    return hashlib.sha256(whole).hexdigest()


def _check_headers(plan: Plan) -> None:
    """Look whether the sources of one target are alike.

    :raises InputError: one has another header line than the first.
    """
    for target in plan.targets:
        known: tuple[Source, bytes] | None = None
        for source in (plan.sources[number] for number in target.sources) if len(target.sources) > 1 else ():
            header = reading.header_of(source)
            if header is None:
                continue
            if known is not None and header != known[1]:
                raise InputError(
                    f"{source.name} has another header line than {known[0].name}",
                    hint="one output has the rows of one table; give a folder as OUT for a file each",
                )
            known = known or (source, header)


def _check_unchanged(source: Source, size: int) -> None:
    if source.path is None:
        return
    now: Sequence[Any] = places.identity(source)
    if now[1] != size:
        raise InputError(f"{source.name} has changed while it was read: it had {size} bytes, and has {now[1]}")
