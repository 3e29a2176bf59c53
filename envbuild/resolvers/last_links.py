"""Places of files that a model names, as an index that is asked last: so they bring what no other index has."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from envbuild.dated_index.index import DatedIndex
from envbuild.indexes import Indexes
from envbuild.projects import File
from envbuild.settings import Settings


def as_index(indexes: Indexes, settings: Settings, folder: Path) -> Indexes:
    """The indexes with what lies at the model's places as pages below a folder (PEP 503).

    :raises IndexUnreachable: a place does not answer.
    """
    if not indexes.after_all():
        return indexes
    if not folder.exists():
        with DatedIndex(indexes, "", home=settings.home, offline=settings.offline) as index:
            _write(index.files_after_all(), folder)
    return replace(indexes, last=(str(folder),))


def _write(files: Iterable[File], folder: Path) -> None:
    links: dict[str, list[str]] = {}
    for file in files:
        if (name := _project(file.name)) is not None:
            links.setdefault(name, []).append(_link(file))
    folder.mkdir()
    for name, lines in links.items():
        (folder / name).mkdir()
        page = f"<!DOCTYPE html>\n<html><body>\n{''.join(lines)}</body></html>\n"
        (folder / name / "index.html").write_text(page, encoding="utf-8")


def _project(file_name: str) -> str | None:
    try:
        if file_name.endswith(".whl"):
            return str(canonicalize_name(parse_wheel_filename(file_name)[0]))
        return str(canonicalize_name(parse_sdist_filename(file_name)[0]))
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _link(file: File) -> str:
    sha256 = "" if file.sha256 is None else f"#sha256={file.sha256}"
    said = {"href": f"{file.url}{sha256}", "data-requires-python": file.requires_python, "data-yanked": file.yanked}
    attributes = " ".join(f'{key}="{html.escape(value)}"' for key, value in said.items() if value is not None)
    return f"<a {attributes}>{html.escape(file.name)}</a>\n"
