"""The marker: the file that makes an environment complete, written last. Its lock is the environment's lease."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.interpreters import Fingerprint, Interpreter

MARKER = "envbuild.json"
_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What is known of a complete environment."""

    lock_hash: str
    interpreter: Interpreter
    fingerprint: Fingerprint
    manifest: str
    """The manifest's sha256."""
    size: int
    """The sizes of all its files together, shared ones included, in bytes."""
    linked: bool
    """Whether files are shared with other environments by hard links."""

    def to_bytes(self) -> bytes:
        """The form that is kept."""
        content = {
            "version": _VERSION,
            "lock_hash": self.lock_hash,
            "interpreter": self.interpreter.to_dict(),
            "fingerprint": [self.fingerprint.size, self.fingerprint.mtime],
            "manifest": self.manifest,
            "size": self.size,
            "linked": self.linked,
        }
        return json.dumps(content, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Marker | None:
        """Read what :meth:`to_bytes` wrote; ``None`` for anything else, another version's included."""
        try:
            known: dict[str, Any] = json.loads(content)
            if known["version"] != _VERSION:
                return None
            size, mtime = known["fingerprint"]
            return cls(
                lock_hash=str(known["lock_hash"]),
                interpreter=Interpreter(**known["interpreter"]),
                fingerprint=Fingerprint(size=int(size), mtime=int(mtime)),
                manifest=str(known["manifest"]),
                size=int(known["size"]),
                linked=bool(known["linked"]),
            )
        except (ValueError, KeyError, TypeError):
            return None


def read_marker(path: Path) -> Marker | None:
    """The marker at a path, if it is whole."""
    try:
        return Marker.from_bytes(path.read_bytes())
    except OSError:
        return None
