"""An override file as a side: each of its entries under a name of its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuild.document import Node
from envbuild.override import file as override_file
from envbuild.redaction import redacted, without_userinfo
from envbuild.review.difference import Side, SideEntry

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", re.DOTALL)


def side_of_override(path: Path, label: str) -> Side:
    """What an override file says: ``set pandas`` with ``==1.5.3``, ``python`` with ``3.9``, a file with its name.

    :raises OverrideInvalid: it cannot be read, or does not say what an override file must say.
    """
    read = override_file.read(path)
    found: dict[str, SideEntry] = {}
    entries = [_line(change.option, change.text) for change in read.changes]
    entries += [(name, _said(_text(value))) for name, value in read.given.items()]
    for name in ("constraint", "requirements", "conda_env"):
        entries += _source(name, getattr(read, name))
    for name, entry in entries:
        # Several lines may be about one package.
        before = found.get(name)
        found[name] = entry if before is None else _said(f"{before.version or ''}, {entry.version or ''}")
    return Side(label=label, kind="override", packages=found)


def _line(option: str, text: str) -> tuple[str, SideEntry]:
    """A requirement line under the name of its package; one that has none, an address or an option, under itself."""
    match = _NAME.fullmatch(text)
    if match is None or "://" in text.partition("@")[0]:
        return f"{option} {_shown(text)}", _said(None)
    return f"{option} {canonicalize_name(match[1])}", _said(match[2].strip() or None)


def _source(name: str, source: Path | Node | None) -> Iterator[tuple[str, SideEntry]]:
    """A file by its name and contents, lines that are written into the override file one by one."""
    if isinstance(source, Path):
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        yield name, SideEntry(version=source.name, identity=digest, file=source.name)
    elif source is not None and source.kind == "sequence":
        for element in source.elements():
            yield _line(name, element.text or "")
    elif source is not None:
        digest = hashlib.sha256(json.dumps(source.plain(), sort_keys=True, default=str).encode()).hexdigest()
        yield name, SideEntry(version=f"{len(source.value)} entries", identity=digest, file=str(source.place))


def _said(text: str | None) -> SideEntry:
    return SideEntry(version=None if text is None else _shown(text))


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shown(text: str) -> str:
    return redacted(without_userinfo(text) if "://" in text else text)
