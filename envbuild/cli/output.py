"""What a command says: the answer on stdout, progress and notices on stderr, everything in the log file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import click

from envbuild.cli.failure import SCHEMA_VERSION
from envbuild.errors import UsageError
from envbuild.redaction import redacted

if TYPE_CHECKING:
    from envbuild.model import Notice
    from envbuild.progress import Step

_VERBS = {
    "python": "looking for",
    "resolving": "resolving",
    "waiting": "waiting:",
    "downloading": "downloading",
    "building": "building",
    "installing": "installing",
    "loading": "loading",
    "predicting": "predicting",
}


class Output(AbstractContextManager["Output"]):
    """One command's channels; closes its log file and its spinner on every way out."""

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool, log_file: Path | None, command: str) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self._quiet = quiet
        self._command = command
        self._log: IO[str] | None = _opened(log_file)
        self._spinner: Any = None
        self._began = time.monotonic()
        self._bytes = 0
        self._files = 0

    def report(self, step: Step) -> None:
        """Show a step of long work: a line, or on a terminal a spinner that says the latest."""
        if step.phase == "downloading" and step.done:
            self._files += 1
        elif step.phase == "downloading":
            self._bytes += step.bytes or 0
        text = self._text(step)
        self._write_log(text)
        if self._quiet or (step.done and step.phase in ("downloading", "python")):
            return
        if sys.stderr.isatty():
            self._spin(text)
        else:
            click.echo(text, err=True)

    def _text(self, step: Step) -> str:
        if step.done:
            return f"{step.text}" if step.phase != "building" else f"built {step.text}"
        size = "" if step.bytes is None else f" ({step.bytes / 2**20:.1f} MiB)"
        text = f"{_VERBS[step.phase]} {step.text}{size}"
        if step.phase == "downloading" and self._bytes:
            seconds = max(time.monotonic() - self._began, 0.1)
            rate = self._bytes / 2**20 / seconds
            text += f"; {self._files} files done, {self._bytes / 2**20:.0f} MiB begun, {rate:.1f} MiB/s"
        return text

    def _spin(self, text: str) -> None:
        if self._spinner is None:
            from rich.console import Console

            self._spinner = Console(stderr=True).status(text)
            self._spinner.start()
        self._spinner.update(_escaped(text))

    def rest(self) -> None:
        """Take the spinner away, before anything else is written to the terminal."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def notices(self, notices: Iterable[Notice]) -> None:
        """Say what the one who deploys should know."""
        self.rest()
        for notice in notices:
            place = "" if notice.place is None else f" ({notice.place})"
            text = redacted(f"{notice.message}{place}")
            self._write_log(f"warning[{notice.code}]: {text}")
            if not self._quiet:
                click.echo(f"{click.style(f'warning[{notice.code}]', fg='yellow')}: {text}", err=True)

    def detail(self, text: str) -> None:
        """Something for ``-v`` and the log."""
        self._write_log(text)
        if self.verbose and not self._quiet:
            self.rest()
            click.echo(redacted(text), err=True)

    def model_stderr(self) -> Callable[[bytes], None] | None:
        """Where the model's own prints go: to stderr, and into the log as well."""
        if self._log is None:
            return None

        def write(data: bytes) -> None:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
            self._write_log(data.decode("utf-8", "replace").rstrip("\n"))

        return write

    def result(self, content: Mapping[str, Any], text: str, notices: Iterable[Notice] = ()) -> None:
        """The answer: as JSON with its envelope, or as text."""
        self.rest()
        if self.as_json:
            envelope = {"schema_version": SCHEMA_VERSION, "command": self._command, "ok": True}
            listed = [notice.to_dict() for notice in notices]
            click.echo(redacted(json.dumps({**envelope, **content, "notices": listed}, ensure_ascii=False)))
        elif text:
            click.echo(text)

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
            self._write_log(f"error: {error}")
        if self._log is not None:
            self._log.close()


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


def open_output(options: dict[str, Any], command: str) -> Output:
    """The channels that a command's options ask for; those options are taken out."""
    return Output(
        as_json=options.pop("as_json"),
        quiet=options.pop("quiet"),
        verbose=options.pop("verbose"),
        log_file=options.pop("log_file"),
        command=command,
    )
