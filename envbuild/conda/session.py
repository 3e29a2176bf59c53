"""The process of py-rattler (:mod:`envbuild.conda.program`): one a question, or one for all questions of a session."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from envbuild.conversation import Conversation

_PROGRAM = Path(__file__).with_name("program.py")
_OUTER: ContextVar[Conversation | None] = ContextVar("_OUTER", default=None)


@contextlib.contextmanager
def session() -> Iterator[Conversation]:
    """A conversation with py-rattler; within another session it is that one's, since a process takes 0.1 s to start."""
    if (outer := _OUTER.get()) is not None:
        yield outer
        return
    with _surroundings() as environ:
        conversation = Conversation([sys.executable, "-I", str(_PROGRAM)], environ)
        token = _OUTER.set(conversation)
        try:
            yield conversation
        finally:
            _OUTER.reset(token)
            conversation.close()


@contextlib.contextmanager
def _surroundings() -> Iterator[dict[str, str]]:
    """Its environment, made from scratch: with a home of its own, so that nobody's settings for conda are found."""
    with tempfile.TemporaryDirectory(prefix="envbuild-conda-") as name:
        proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        certificates = {key: os.environ[key] for key in ("SSL_CERT_FILE", "SSL_CERT_DIR") if key in os.environ}
        yield {
            "HOME": name,
            "PATH": os.defpath,
            "LC_ALL": "C.UTF-8",
            "TMPDIR": name,
            **proxies,
            **certificates,
        }
