"""What a text names that is given for a model: a folder, an archive, or a URI of one of several kinds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from envbuild.errors import UsageError
from envbuild.redaction import redacted

Kind = Literal["folder", "archive", "web", "objects", "mlflow"]
# As MLflow and the stores' own tools write them, each with the extra that it needs.
OBJECTS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_MLFLOW = ("models", "runs", "mlflow-artifacts", "dbfs")
_ARCHIVE = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)$", re.IGNORECASE)
# What an image's name, a file's or a drive may have before a colon is none.
_SCHEME = re.compile(r"(?P<scheme>file(?=:)|[a-z][a-z0-9+.-]+(?=:/)):", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model as it was named."""

    kind: Kind
    text: str
    """The URI as given, which may hold credentials; for what lies on the disk its path."""

    @property
    def said(self) -> str:
        """How it is called where anybody may read it: without credentials, and without what stands behind a ``?``."""
        return self.text if self.kind in ("folder", "archive") else redacted(self.text).partition("?")[0]

    @property
    def name(self) -> str:
        """What the model is called: the last part of where it lies that is no version."""
        path = self.text if self.kind in ("folder", "archive") else unquote(self.said.partition(":")[2])
        parts = [part for part in re.split(r"[/\\]+", path) if part]
        if self.kind == "mlflow" and self.text.startswith("models:"):
            return _plain(parts[0].partition("@")[0]) if parts else "model"
        return _plain(_ARCHIVE.sub("", parts[-1])) if parts else "model"


def named(given: str | Path) -> Named:
    """What a text names; a path that is there is that path, whatever it looks like.

    :raises UsageError: it is a URI that nothing here can read.
    """
    text = str(given)
    scheme = _SCHEME.match(text)
    if isinstance(given, Path) or scheme is None or Path(text).exists():
        return _on_disk(text)
    kind = scheme["scheme"].lower()
    if kind == "file":
        return _on_disk(_path_of(text))
    if kind in ("http", "https"):
        return Named(kind="web", text=text)
    if kind in OBJECTS:
        return Named(kind="objects", text=text)
    if kind in _MLFLOW:
        return Named(kind="mlflow", text=text)
    raise UsageError(
        f"{redacted(text)!r} is no place where a model can lie",
        hint="a folder, an archive, or a URI: file:, http:, https:, models:/, runs:/, mlflow-artifacts:, "
        f"{', '.join(f'{one}://' for one in OBJECTS)}",
    )


def _on_disk(path: str) -> Named:
    is_archive = _ARCHIVE.search(path) is not None and Path(path).expanduser().is_file()
    return Named(kind="archive" if is_archive else "folder", text=path)


def _path_of(uri: str) -> str:
    """The path of a ``file:`` URI, with one or three slashes.

    :raises UsageError: it is of another machine.
    """
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{uri!r} names another machine", hint="write file:///path, with three slashes")
    return unquote(parts.path)


def _plain(name: str) -> str:
    """A name that a directory can have, and an image's tag."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80] or "model"
