"""Frames: one line of JSON header, then exactly ``length`` bytes of payload."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from envbuild.errors import ProtocolError

PROTOCOL: Final = 1
MAX_HEADER: Final = 64 * 1024
MAX_PAYLOAD: Final = 1 << 40
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of either direction."""

    id: int
    verb: str
    content_type: str = "application/json"
    payload: bytes | bytearray = b""
    more: Mapping[str, Any] = field(default_factory=dict)
    """The header's other fields, such as ``nulls``."""

    def header(self) -> bytes:
        """The header's line, with its end; the payload follows it as it is."""
        header = {
            **self.more,
            "protocol": PROTOCOL,
            "id": self.id,
            "verb": self.verb,
            "content_type": self.content_type,
            "length": len(self.payload),
        }
        return json.dumps(header).encode("ascii") + b"\n"


class FrameReader:
    """Reads frames from something that fills a buffer, as ``readinto`` does."""

    def __init__(self, readinto: Callable[[memoryview], int]) -> None:
        """:param readinto: fills a part of the buffer and says how much; 0 is the end."""
        self._readinto = readinto
        self._rest = b""

    def read(self) -> Frame | None:
        """The next frame, or ``None`` at the end, be it in the middle of a frame.

        :raises ProtocolError: what comes is not frames of this protocol.
        """
        line = self._line()
        if line is None:
            return None
        header = _parse(line)
        payload = self._payload(header.pop("length"))
        if payload is None:
            return None
        known = {name: header.pop(name) for name in ("id", "verb", "content_type")}
        del header["protocol"]
        return Frame(payload=payload, more=header, **known)

    def _line(self) -> bytes | None:
        chunk = bytearray(_CHUNK)
        while b"\n" not in self._rest:
            if len(self._rest) > MAX_HEADER:
                raise ProtocolError(f"a header from the worker is longer than {MAX_HEADER} bytes")
            count = self._readinto(memoryview(chunk))
            if not count:
                return None
            self._rest += chunk[:count]
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _payload(self, length: int) -> bytearray | None:
        payload = bytearray(length)
        start = min(length, len(self._rest))
        payload[:start] = self._rest[:start]
        self._rest = self._rest[start:]
        view = memoryview(payload)[start:]
        while view:
            count = self._readinto(view)
            if not count:
                return None
            view = view[count:]
        return payload


def _parse(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        raise _not_ours(line, "is not JSON") from None
    if not isinstance(header, dict):
        raise _not_ours(line, "is not an object")
    version = header.get("protocol")
    if version != PROTOCOL:
        raise ProtocolError(
            f"the worker speaks protocol {version!r}, and this envbuild speaks {PROTOCOL}",
            hint="The worker comes with envbuild: use the same version on both sides (rebuild the image).",
        )
    kinds = {"id": int, "verb": str, "content_type": str, "length": int}
    wrong = [name for name, kind in kinds.items() if type(header.get(name)) is not kind]
    if wrong or not 0 <= header["length"] <= MAX_PAYLOAD:
        raise _not_ours(line, f"lacks {', '.join(wrong) or 'a length that can be'}")
    return header


def _not_ours(line: bytes, why: str) -> ProtocolError:
    shown = line[:200].decode("utf-8", "replace")
    return ProtocolError(f"a header from the worker {why}", details=(shown,))
