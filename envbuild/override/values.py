"""What each key of an override file may hold: read, and refused with its line where it is something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, get_args
from urllib.parse import urlsplit

from envbuild import asof
from envbuild.document import Node
from envbuild.errors import OverrideInvalid, UsageError
from envbuild.lock import Change
from envbuild.redaction import redacted
from envbuild.settings import CondaPackages, ModelIndexes, PythonPolicy, Repair

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""The name of a curated environment; no path can be made of it."""
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""The version of a curated environment; no path can be made of it."""
CHANGES = ("set", "add", "remove")
"""The keys that hold changes of single packages."""
FILES = ("constraint", "requirements", "conda_env")
"""The keys that hold a file's path, or what would be in the file."""
CURATED_KEYS = ("name", "version", "created")
"""The keys of curated environments alone."""
_PYTHON = re.compile(r"\d+\.\d+(\.\d+\S*)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Value:
    """A key's value; the methods give what it means."""

    key: str
    node: Node
    folder: Path | None
    """What paths are relative to; ``None`` where no file may be named."""
    is_line: bool = False
    """Whether it is one line of the key's list."""

    def read(self) -> Any:
        """What the value means.

        :raises OverrideInvalid: it is not what the key may hold.
        """
        if self.node.kind == "scalar" and self.node.value is None:
            self.refuse("has no value", "write one, or take the line out")
        return _READERS[self.key](self)

    def refuse(self, why: str, hint: str | None = None) -> NoReturn:
        """Refuse the value."""
        what = f"a line of {self.key}" if self.is_line else self.key
        raise OverrideInvalid(f"{what} {why}", place=self.node.place, hint=hint)

    def text(self) -> str:
        """A text on one line, without the space around it."""
        if self.node.kind != "scalar" or not isinstance(self.node.value, str):
            self.refuse(f"is {self._kind}; a text is wanted", self._quote_hint)
        return self._plain()

    def as_written(self) -> str:
        """A text that may look like a number or a date to YAML: ``3.10`` stays ``3.10``."""
        if self.node.kind != "scalar" or self.node.value is None or isinstance(self.node.value, bool):
            self.refuse(f"is {self._kind}; a text is wanted", self._quote_hint)
        return self._plain()

    def _plain(self) -> str:
        text = (self.node.text or "").strip()
        if not text:
            self.refuse("is an empty text", "write one, or take the line out")
        if _CONTROL.search(text):
            self.refuse("holds a line end or another control character", "write it plainly, on one line")
        return text

    def prose(self) -> str:
        """A text of any number of lines."""
        if self.node.kind != "scalar" or not isinstance(self.node.value, str):
            self.refuse(f"is {self._kind}; a text is wanted", self._quote_hint)
        if _CONTROL.search(self.node.value.replace("\n", "").replace("\t", "")):
            self.refuse("holds a control character", "write it plainly")
        return self.node.value.strip()

    def matching(self, pattern: re.Pattern[str], hint: str) -> str:
        """A text of a certain form."""
        text = self.as_written()
        if pattern.fullmatch(text) is None:
            self.refuse(f"is {said(text)}", hint)
        return text

    def one_of(self, choices: tuple[str, ...]) -> str:
        """One of some words."""
        text = self.text()
        if text not in choices:
            self.refuse(f"is {said(text)}", f"write one of: {', '.join(choices)}")
        return text

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.node.value, bool):
            self.refuse(f"is {self._kind}", "write true or false")
        return self.node.value

    def lines(self) -> tuple[Value, ...]:
        """The elements of a list."""
        if self.node.kind != "sequence":
            self._refuse_no_list()
        return tuple(replace(self, node=element, is_line=True) for element in self.node.elements())

    def _refuse_no_list(self) -> NoReturn:
        hint = f"write a list: `{self.key}: [a, b]`, or a line `- a` for each"
        if isinstance(self.node.value, str):
            hint = f"put each text into a line of its own: - {said(self.node.value.strip())}"
        self.refuse(f"is {self._kind}; a list of texts is wanted", hint)

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(line.text() for line in self.lines())

    def changes(self) -> tuple[Change, ...]:
        """A list of texts with their lines."""
        return tuple(Change(option=self.key, text=line.text(), place=line.node.place) for line in self.lines())

    def address(self) -> str:
        """A URL."""
        text = self.text()
        try:
            urlsplit(text)
        except ValueError as error:
            # The address itself may hold a password.
            self.refuse(f"is no address: {error}")
        return text

    def address_or_path(self) -> str:
        """A URL, or the path of what lies here."""
        return self.address() if "://" in self.text() else str(self.path())

    def path(self) -> Path:
        """A path, relative to the folder of the file."""
        text = self.as_written()
        if "://" in text:
            self.refuse(f"is {said(text)}, an address; a path is wanted", "download it, and put it beside this file")
        if self.folder is None:
            into = "a mapping" if self.key == "conda_env" else "a list of lines"
            self.refuse(
                f"names a file, {said(text)}; this environment was fetched, and no files came with it",
                f"write what is in that file here, as {into}"
                if self.key in FILES
                else "take it out, or publish the environments in a folder",
            )
        try:
            return self.folder / Path(text).expanduser()
        except RuntimeError as error:
            self.refuse(f"is {said(text)}: {error}")

    def file(self) -> Path:
        """The path of a file that is there."""
        path = self.path()
        if not _is_file(path):
            hint = "a path is relative to the folder of this file"
            if self.key in ("constraint", "requirements"):
                hint += "; requirements themselves stand in a list: `- pandas==1.5.3`"
            self.refuse(f"names {said(str(path))}, where no file is", hint)
        return path

    def file_or_lines(self) -> Path | Node:
        """The path of a file, or the lines that would be in it."""
        if isinstance(self.node.value, str):
            return self.file()
        if self.node.kind != "sequence":
            self.refuse(f"is {self._kind}; a list of lines or the path of a file is wanted")
        self.texts()
        return self.node

    def file_or_mapping(self) -> Path | Node:
        """The path of a file, or the mapping that would be in it."""
        if isinstance(self.node.value, str):
            return self.file()
        if self.node.kind != "mapping":
            self.refuse(f"is {self._kind}; a mapping as in conda.yaml or the path of a file is wanted")
        return self.node

    def python(self) -> str:
        """A version, or the path of an interpreter."""
        text = self.as_written()
        if "/" in text:
            return str(self.path())
        return self.matching(_PYTHON, "write a version (3.8 or 3.8.18) or the path of a python program")

    def as_of(self) -> str:
        """A cut: see :mod:`envbuild.asof`."""
        text = self.as_written()
        try:
            asof.check(text)
        except UsageError as error:
            self.refuse(f"is {said(text)}", error.hint)
        return text

    def day(self) -> str:
        """A day of the calendar."""
        text = self.as_written()
        try:
            is_day = _DAY.fullmatch(text) is not None and date.fromisoformat(text) is not None
        except ValueError:
            is_day = False
        return text if is_day else self.refuse(f"is {said(text)}", "write a day: 2022-04-30")

    def environment(self) -> str:
        """A curated environment's name, with or without its version, or its file's path."""
        text = self.as_written()
        return str(self.path()) if is_path(text) else text

    @property
    def _kind(self) -> str:
        if self.node.kind != "scalar":
            return "a list" if self.node.kind == "sequence" else "a mapping"
        known = ((bool, "true or false"), (str, "a single text"), ((int, float), "a number"), (date, "a date"))
        return next((words for kind, words in known if isinstance(self.node.value, kind)), "empty")

    @property
    def _quote_hint(self) -> str:
        if self.node.kind == "mapping":
            return "put the text into quotes: a colon before a space makes a key of it"
        if self.node.kind == "sequence":
            return "write one text"
        empty = self.node.value is None
        return "write one, or take the line out" if empty else f"put it into quotes: {said(self.node.text or '')}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name that is too long for any file.
        return False


def is_path(wanted: str) -> bool:
    """Whether a curated environment is named by its file's path."""
    return "/" in wanted or wanted.endswith((".yaml", ".yml"))


def said(text: str) -> str:
    """A text of the file in a message: short, on one line, without credentials."""
    if len(text) > 1000:
        return f"a text of {len(text):,} characters"
    text = redacted(text)
    return repr(text if len(text) <= 120 else f"{text[:120]}…")


_NAME_HINT = "write small letters and digits, and between them dots, underscores and hyphens: sklearn-lts"
_VERSION_HINT = "write letters and digits, and between them dots, underscores, plus signs and hyphens: 2024.1"
_READERS: Mapping[str, Callable[[Value], Any]] = {
    "description": Value.prose,
    **dict.fromkeys(CHANGES, Value.changes),
    "constraint": Value.file_or_lines,
    "requirements": Value.file_or_lines,
    "conda_env": Value.file_or_mapping,
    "environment": Value.environment,
    "python": Value.python,
    "python_policy": lambda value: value.one_of(get_args(PythonPolicy)),
    "only_binary": Value.texts,
    "no_binary": Value.texts,
    "no_build": Value.flag,
    "as_of": Value.as_of,
    "index_url": Value.address,
    "extra_index_url": lambda value: tuple(line.address() for line in value.lines()),
    "find_links": lambda value: tuple(line.address_or_path() for line in value.lines()),
    "model_indexes": lambda value: value.one_of(get_args(ModelIndexes)),
    "lock": Value.file,
    "accelerator": Value.text,
    "conda_packages": lambda value: value.one_of(get_args(CondaPackages)),
    "repair": lambda value: value.one_of(get_args(Repair)),
    "allow_repair": Value.texts,
    "deny_repair": Value.texts,
    "name": lambda value: value.matching(NAME, _NAME_HINT),
    "version": lambda value: value.matching(VERSION, _VERSION_HINT),
    "created": Value.day,
}
OVERRIDE_KEYS = tuple(key for key in _READERS if key not in CURATED_KEYS)
"""The keys of an override file."""
