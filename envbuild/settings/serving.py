"""Serving: how a model is served over HTTP, from ``ENVBUILD_*`` variables or the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from envbuild.errors import UsageError
from envbuild.settings.values import LogFormat, read_given


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """One server's settings. Times are in seconds, sizes in bytes.

    Each field is set by the variable ``ENVBUILD_`` plus its name in capitals, and by the option of that name of
    ``envbuild serve``.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    """A Unix socket in place of an address."""
    workers: int = field(default_factory=_cores)
    """How many workers have the model loaded side by side."""
    queue: int = 100
    """How many requests may wait for a worker; more are refused with 429."""
    batch_size: int = 1
    """How many requests that wait are put to a worker together at the most (docs/serve.md)."""
    batch_wait: float = 0.0
    """How long a request waits for others to come together with, where a worker is free."""
    request_timeout: float = 60.0
    """How long a request may take, its waiting included."""
    max_body: int = 100 * 2**20
    """The longest body of a request, as it comes and as it is after it was unpacked."""
    token: str | None = field(default=None, repr=False)
    """What a caller has to say as ``Authorization: Bearer …``; ``None``: nothing."""
    certfile: Path | None = None
    keyfile: Path | None = None
    root_path: str = ""
    """The path under which a proxy has the server, as ``/models/heart``."""
    name: str | None = None
    """The model's name in paths and metrics; ``None``: the name of its directory."""
    log_format: LogFormat = "text"
    no_page: bool = False
    """Leave out the page to try the model on."""
    no_probe: bool = False
    """Be ready as soon as the model is loaded, without asking it its input example."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> ServingSettings:
        """The settings of an environment; what is ``given`` and is not ``None`` wins.

        :raises UsageError: a variable, or a value given, cannot be understood.
        """
        environ = os.environ if environ is None else environ
        made = cls(**read_given((one.name for one in fields(cls)), environ, given))
        if (made.certfile is None) is not (made.keyfile is None):
            raise UsageError("TLS takes a certificate and its key", hint="give --certfile and --keyfile")
        return made
