"""What a command says: the answer on stdout, progress and notices on stderr, everything in the log file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import click

from envbuild.cli.failure import SCHEMA_VERSION
from envbuild.errors import EnvbuildError, UsageError
from envbuild.redaction import redacted

if TYPE_CHECKING:
    from envbuild.model import Notice
    from envbuild.progress import Step

_VERBS: Mapping[str, tuple[str, str]] = {
    "checking": ("checking", "checked"),
    "resolving": ("resolving", "resolved"),
    "waiting": ("waiting:", "waited:"),
    "downloading": ("downloading", "downloaded"),
    "building": ("building", "built"),
    "installing": ("installing", "installed"),
    "compiling": ("compiling", "compiled"),
    "packing": ("packing", "packed"),
    "pushing": ("pushing", "pushed"),
    "removing": ("removing", "removed"),
    "loading": ("loading", "loaded"),
    "predicting": ("predicting", "predicted"),
}
# Their lines say how much and how long.
_TIMED = ("packing", "pushing", "loading")
# On a pipe, a download is a line when it is done; only one that takes its time is a line when it begins as well.
_LARGE_BYTES = 50 * 2**20


Say = Callable[[str, "str | None"], None]


def _say(text: str, code: str | None) -> None:
    warning = "" if code is None else f"{click.style(f'warning[{code}]', fg='yellow')}: "
    click.echo(f"{warning}{text}", err=True)


class _Downloads:
    """How much of how much has been downloaded, and how fast."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._done: set[str] = set()
        self._began: float | None = None

    def note(self, step: Step) -> str:
        """Take a step in, and give what its line says beyond the name."""
        if self._began is None:
            self._began = time.monotonic()
        if not step.done:
            self._sizes[step.text] = step.bytes or 0
            return "" if step.bytes is None else f" ({step.bytes / 2**20:.1f} MiB)"
        self._done.add(step.text)
        arrived = sum(self._sizes.get(name, 0) for name in self._done) / 2**20
        rate = arrived / max(time.monotonic() - self._began, 0.1)
        whole = sum(self._sizes.values()) / 2**20
        return f": {len(self._done)} of {len(self._sizes)} files, {arrived:.0f} of {whole:.0f} MiB, {rate:.1f} MiB/s"


class Output(AbstractContextManager["Output"]):
    """One command's channels; closes its log file and its spinner on every way out."""

    def __init__(
        self, *, as_json: bool, quiet: bool, verbose: bool, log_file: Path | None, command: str, say: Say | None = None
    ) -> None:
        """:param say: what takes each line for stderr, and the code of a notice; by default they are written for people."""
        self.as_json = as_json
        self.verbose = verbose
        self._quiet = quiet
        self._say = say or _say
        self._is_for_people = say is None
        self._command = command
        self._log: IO[str] | None = _opened(log_file)
        self._spinner: Any = None
        self._downloads = _Downloads()
        self._said: set[str] = set()
        self._began: dict[tuple[str, str], float] = {}

    def report(self, step: Step) -> None:
        """Show a step of long work: a line, or on a terminal a spinner that says the latest."""
        begun, finished = _VERBS[step.phase]
        text = f"{finished if step.done else begun} {step.text}"
        if step.phase == "downloading":
            text += self._downloads.note(step)
        elif step.phase in _TIMED:
            text += self._timed(step)
        self._write_log(text)
        if self._quiet:
            return
        if self._is_for_people and sys.stderr.isatty():
            self._spin(text)
        elif step.phase != "downloading" or step.done or (step.bytes or 0) >= _LARGE_BYTES:
            self._say(text, None)

    def _timed(self, step: Step) -> str:
        """How much it is, and when it is done, how long it took."""
        size = "" if not step.bytes else f" ({step.bytes / 2**20:.1f} MiB)"
        key = (step.phase, step.text)
        if not step.done:
            self._began.setdefault(key, time.monotonic())
            return size
        began = self._began.pop(key, None)
        return size if began is None else f"{size}, in {time.monotonic() - began:.1f} s"

    def _spin(self, text: str) -> None:
        if self._spinner is None:
            from rich.console import Console

            self._spinner = Console(stderr=True).status(_escaped(text))
            self._spinner.start()
        self._spinner.update(_escaped(text))

    def rest(self) -> None:
        """Take the spinner away, before anything else is written to the terminal."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def notices(self, notices: Iterable[Notice], *, log_only: bool = False) -> None:
        """Say what the one who deploys should know, each thing once: what a model says may explain a later failure.

        :param log_only: the answer shows them itself.
        """
        self.rest()
        for notice in notices:
            place = "" if notice.place is None else f" ({notice.place})"
            text = redacted(f"{notice.message}{place}")
            if text in self._said:
                continue
            self._said.add(text)
            self._write_log(f"warning[{notice.code}]: {text}")
            if not self._quiet and not log_only:
                self._say(text, notice.code)

    def detail(self, text: str) -> None:
        """Something for ``-v`` and the log."""
        self._write_log(text)
        if self.verbose and not self._quiet:
            self.rest()
            self._say(redacted(text), None)

    def model_stderr(self) -> Callable[[bytes], None] | None:
        """Where the model's own prints go: to stderr, and into the log as well."""
        if self._log is None:
            return None

        def write(data: bytes) -> None:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
            self._write_log(data.decode("utf-8", "replace").rstrip("\n"))

        return write

    def result(
        self,
        content: Mapping[str, Any],
        text: str,
        notices: Iterable[Notice] = (),
        foreign: Mapping[str, Any] | None = None,
    ) -> None:
        """The answer: as JSON with its envelope, or as text.

        :param foreign: what the model or a command said; unlike ours it is not redacted, since it is not ours to change.
        """
        self.rest()
        if self.as_json:
            envelope = {"schema_version": SCHEMA_VERSION, "command": self._command, "ok": True}
            listed = [notice.to_dict() for notice in notices]
            ours = json.loads(redacted(json.dumps({**content, "notices": listed})))
            line = json.dumps({**envelope, **(foreign or {}), **ours}, ensure_ascii=False)
            self.write(line.encode("utf-8", "surrogatepass") + b"\n")
        elif text:
            with _stdout() as stdout:
                click.echo(redacted(text), file=stdout)

    def write(self, answer: bytes) -> None:
        """Put an answer on stdout as it is.

        :raises UsageError: there is no stdout, or it cannot be written.
        """
        self.rest()
        with _stdout() as stdout:
            stdout.buffer.write(answer)
            stdout.buffer.flush()

    def _write_log(self, text: str) -> None:
        if self._log is not None:
            stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            self._log.write(f"{stamp} {redacted(text)}\n")
            self._log.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        if error is not None:
            code = f"[{error.code}]" if isinstance(error, EnvbuildError) else ""
            self._write_log(f"error{code}: {str(error) or type(error).__name__}")
        if self._log is not None:
            self._log.close()


@contextmanager
def _stdout() -> Iterator[Any]:
    """Standard output, to be written and flushed inside; a reader that has gone is the caller's affair.

    :raises UsageError: there is none, or it cannot be written.
    """
    if sys.stdout is None:
        raise UsageError("there is no standard output to write the answer to", hint="-o writes it to a file")
    try:
        yield sys.stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        from envbuild.cli import forget_stdout

        forget_stdout()
        raise UsageError(f"the answer cannot be written to standard output: {error.strerror}") from error


def _opened(path: Path | None) -> IO[str] | None:
    if path is None:
        return None
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the log file {path} cannot be written: {error.strerror}") from error


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def open_output(options: dict[str, Any], command: str, say: Say | None = None) -> Output:
    """The channels that a command's options ask for; those options are taken out.

    :param say: as for :class:`Output`.
    """
    return Output(
        as_json=options.pop("as_json"),
        quiet=options.pop("quiet"),
        verbose=options.pop("verbose"),
        log_file=options.pop("log_file"),
        command=command,
        say=say,
    )


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*table)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
