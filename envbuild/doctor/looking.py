"""Looking: checks made side by side; one that fails or hangs becomes a finding of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from envbuild.doctor.finding import Check, Finding
from envbuild.errors import EnvbuildError
from envbuild.progress import Report, Step
from envbuild.redaction import redacted
from envbuild.settings import Settings

# How long an interrupted call waits for checks to remove what they have made.
_TIDYING_SECONDS = 1.0


class _Look:
    """A check at work, in a thread that nobody has to wait for."""

    def __init__(self, check: Check, settings: Settings) -> None:
        self.check = check
        self._settings = settings
        self._findings: tuple[Finding, ...] | None = None
        self._until = time.monotonic() + check.seconds
        # A thread of an executor would be waited for when Python ends.
        self._thread = threading.Thread(target=self._run, name=f"envbuild-doctor-{check.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._findings = tuple(self.check.look(self._settings))
        except Exception as error:  # noqa: BLE001 - whatever a check raises is what it found
            self._findings = (_failed(self.check, error),)

    def findings(self) -> tuple[Finding, ...]:
        """What it found, once it is done or its time is over."""
        self._thread.join(max(0.0, self._until - time.monotonic()))
        # Taken once: a late one may come in between.
        found = self._findings
        return (_hung(self.check),) if found is None else found

    def join(self, until: float) -> None:
        self._thread.join(max(0.0, until - time.monotonic()))


def side_by_side(checks: Sequence[Check], settings: Settings, report: Report) -> Iterator[tuple[Check, Finding]]:
    """What the checks find, in their order; the steps say what is waited for."""
    looks = [_Look(check, settings) for check in checks]
    try:
        for look in looks:
            report(Step("checking", look.check.name))
            for finding in look.findings():
                yield look.check, finding
    except BaseException:
        until = time.monotonic() + _TIDYING_SECONDS
        for look in looks:
            look.join(until)
        raise


def _failed(check: Check, error: Exception) -> Finding:
    said = str(error) if isinstance(error, EnvbuildError) else f"{type(error).__name__}: {error}"
    return Finding(
        name=check.name,
        state="wrong",
        found=f"looking at it failed: {redacted(said)}",
        without="whether it works is not known",
        hint=error.hint if isinstance(error, EnvbuildError) else None,
        needed=check.needed,
    )


def _hung(check: Check) -> Finding:
    return Finding(
        name=check.name,
        state="wrong",
        found=f"no answer within {check.seconds:g} seconds",
        without="what needs it waits, and fails in the end",
        hint="is this machine, its network or a network disk overloaded or hanging? try again",
        needed=check.needed,
    )
