"""The account of a request: what is known of it by its end, for the log and the metrics; nothing of what it held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from starlette.types import Scope

from envbuild.server.middleware.tracing import Trace

_KEY: Final = "envbuild.account"


@dataclass(slots=True, kw_only=True)
class Account:
    """Filled by whoever learns of it. Times are in seconds, lengths in bytes as they went over the line."""

    request_id: str = ""
    trace: Trace | None = None
    status: int | None = None
    failure: str | None = None
    """The code of the error that was the answer."""
    bytes_in: int = 0
    bytes_out: int = 0
    waited: float | None = None
    """In the queue; ``None``: it never came to a worker, or was not answered."""
    predicted: float | None = None
    """With a worker, together with the others of its batch."""

    def times(self, waited: float, predicted: float) -> None:
        """Note how long it waited, and was with a worker."""
        self.waited, self.predicted = waited, predicted


def account_of(scope: Scope) -> Account:
    """The account of a request; one that is made here is nobody's concern but the caller's."""
    return cast("Account", scope.setdefault(_KEY, Account()))
