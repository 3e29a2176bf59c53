"""Running pip-compile: the program that stands around it, what it is given, and what it answers.

pip-tools says what failed in words that are another in every release, or in a traceback. So it runs inside a program of
ours that looks at the exception itself, and writes an account of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envbuild.dated_index.index import DatedIndex
from envbuild.pip import running
from envbuild.pip.running import Call, Tools
from envbuild.process import Completed
from envbuild.progress import Report
from envbuild.settings import Settings

# Runs under the model's Python (3.6 and later) and its pip (9 and later), whose inner names differ: objects are known
# by their class's name and attributes.
_PROGRAM = """
import glob, json, os, sys

def account_of(error):
    found = {"errors": [], "lacking": [], "building": None}
    while error is not None and len(found["errors"]) < 10:
        found["errors"].append([type(error).__name__, str(error)[:4000]])
        causes = getattr(error, "causes", None)
        for cause in causes if isinstance(causes, (list, tuple)) else ():
            parent = getattr(cause, "parent", None)
            found["lacking"].append([str(getattr(cause, "requirement", "")), parent and said(parent)])
        for name in ("ireq", "ireq_a", "ireq_b"):
            if hasattr(error, name):
                found["lacking"] += sources_of(getattr(error, name))
        innermost = in_frames(error)
        if innermost is not None:
            if found["building"] is None:
                found["building"] = [innermost.name, getattr(innermost.link, "filename", "") if innermost.link else ""]
            if type(error).__name__ == "DistributionNotFound":
                found["lacking"] += sources_of(innermost)
        error = error.__cause__ or error.__context__
    return found

def said(parent):
    return "%s==%s" % (getattr(parent, "name", parent), getattr(parent, "version", ""))

def sources_of(ireq):
    found = []
    for one in getattr(ireq, "_source_ireqs", None) or [ireq]:
        parent = getattr(one, "comes_from", None)
        found.append([str(one.req), str(parent.req) if hasattr(parent, "req") else None])
    return found

def in_frames(error):
    found, trace = None, error.__traceback__
    while trace is not None:
        for name in ("self", "req", "ireq", "install_req", "requirement"):
            value = trace.tb_frame.f_locals.get(name)
            if type(value).__name__ == "InstallRequirement" and value.name:
                found = value
        trace = trace.tb_next
    return found

def tags():
    for name in ("pip._internal.utils.compatibility_tags", "pip._internal.pep425tags", "pip.pep425tags"):
        try:
            module = __import__(name, fromlist=["get_supported"])
        except ImportError:
            continue
        return ["-".join(tag) if isinstance(tag, tuple) else str(tag) for tag in module.get_supported()]

def main(answer, arguments):
    if not arguments:
        with open(answer, "w") as file:
            json.dump(tags(), file)
        return 0
    sys.argv = ["pip-compile"] + arguments
    found, status = {}, 0
    try:
        from piptools.scripts.compile import cli
        cli()
    except BaseException as error:
        status = error.code if isinstance(error, SystemExit) else 1
        if status:
            found = account_of(error)
            if not isinstance(error, SystemExit):
                sys.stderr.write("%s: %s\\n" % (type(error).__name__, error))
    # What pip-tools with a resolver of its own learned of every release: its annotations leave extras out.
    for path in glob.glob(os.path.join(os.environ["PIP_TOOLS_CACHE_DIR"], "**", "depcache-*.json"), recursive=True):
        with open(path) as file:
            found["dependencies"] = json.load(file).get("dependencies")
    with open(answer, "w") as file:
        json.dump(found, file)
    return 1 if status else 0

sys.exit(main(sys.argv[1], sys.argv[2:]))
"""
_MODULE = "envbuild_compile"
# pip-tools has pip's resolver of 2020 beside its own from here on, and has to be told so up to 7.
_TOLD_TO_BACKTRACK = ("6.8", "6.9", "6.10", "6.11", "6.12", "6.13", "6.14")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What pip-compile said of its end."""

    done: Completed
    errors: Sequence[Sequence[str]] = ()
    """The exceptions that led to it, the last first: class and words."""
    lacking: Sequence[tuple[str, str | None]] = ()
    """Requirements that cannot be met, each with the release that asks for it; ``None``: the model."""
    building: tuple[str, str] | None = None
    """The name and the file of what was looked at when it failed."""
    resolved: Mapping[str, str] = field(default_factory=dict)
    """The versions by name, where it did not fail."""
    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Who asks for each package."""

    @property
    def words(self) -> str:
        """All that it wrote."""
        return f"{self.done.stdout}\n{self.done.stderr}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """One run of pip-compile."""

    tools: Tools
    index: DatedIndex
    folder: Path
    """Empty, or one where another ran before: what it learned of releases is kept there."""
    lines: Sequence[str]
    """A requirements file's, options included (pip, "Requirements File Format")."""
    settings: Settings
    on_start: Any = None

    def run(self, report: Report) -> Account:
        """Run it.

        :raises process.TimedOutWaiting: it took longer than the settings allow.
        """
        _write_program(self.folder)
        (self.folder / "requirements.in").write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        answer, output = self.folder / "account.json", self.folder / "requirements.out"
        for path in (answer, output):
            path.unlink(missing_ok=True)
        arguments = ["requirements.in", "--output-file", output.name, "--allow-unsafe"]
        if (self.tools.pip_tools or "").startswith(tuple(f"{one}." for one in _TOLD_TO_BACKTRACK)):
            arguments.append("--resolver=backtracking")
        cache = str(self.folder / "cache")
        call = Call(
            tools=self.tools,
            arguments=[_MODULE, str(answer), *arguments],
            settings=self.settings,
            index_url=self.index.url,
            cwd=self.folder,
            timeout=self.settings.lock_timeout,
            on_start=self.on_start,
            environ={"PIP_TOOLS_CACHE_DIR": cache, "XDG_CACHE_HOME": cache},
        )
        done = running.run(call, report)
        found = json.loads(answer.read_bytes()) if answer.is_file() else {}
        building = found.get("building")
        if done.returncode != 0 or not output.is_file():
            return Account(
                done=done,
                errors=found.get("errors", ()),
                lacking=tuple((text, parent) for text, parent in found.get("lacking", ())),
                building=None if building is None else (building[0], building[1]),
            )
        resolved, parents = _read(output.read_text(encoding="utf-8"))
        learned = _learned(found.get("dependencies") or {}, resolved)
        merged = {name: (parents.get(name, frozenset()) | learned.get(name, frozenset())) for name in resolved}
        return Account(done=done, resolved=resolved, parents=merged)


def _write_program(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{_MODULE}.py").write_text(_PROGRAM, encoding="utf-8")


def forget(folder: Path, name: str, version: str) -> None:
    """Take out of a folder what pip-tools learned there of a release: it asks for that no more, whatever else is there.

    Its own resolver, which it has beside pips before 22, keeps what each release needs by name and version.
    """
    for path in (folder / "cache").rglob("depcache-*.json"):
        content = json.loads(path.read_bytes())
        for known, versions in content.get("dependencies", {}).items():
            if canonicalize_name(known) == name:
                for own in [one for one in versions if one.partition("[")[0] == version]:
                    del versions[own]
        path.write_text(json.dumps(content), encoding="utf-8")


def supported_tags(tools: Tools, settings: Settings, folder: Path) -> tuple[str, ...]:
    """The tags of the wheels that a pip takes, best first: an old one knows fewer than its Python could use."""
    _write_program(folder)
    answer = folder / "tags.json"
    call = Call(tools=tools, arguments=[_MODULE, str(answer)], settings=settings, cwd=folder)
    running.run(call, lambda step: None)
    return tuple(str(tag) for tag in json.loads(answer.read_bytes()))


def _read(text: str) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """The versions in a requirements file of pip-compile's, and who asked for each: beside it, or in lines below."""
    resolved, parents, name = dict[str, str](), dict[str, set[str]](), ""
    for line in text.splitlines():
        body, _, comment = line.partition("#")
        if body.strip() and not body.startswith((" ", "-")):
            name, version = _exact(body.strip())
            resolved[name] = version
            parents[name] = set()
        elif body.strip() or not line.startswith(" "):
            continue
        if name:
            words = re.sub(r"^\s*via\b", "", comment.rstrip("\\ "))
            parents[name].update(_named(words))
    return resolved, {name: frozenset(found) & resolved.keys() for name, found in parents.items()}


def _exact(line: str) -> tuple[str, str]:
    requirement = Requirement(line.rstrip("\\ "))
    return str(canonicalize_name(requirement.name)), next(iter(requirement.specifier)).version


def _named(words: str) -> Iterable[str]:
    for word in words.split(","):
        bare = re.sub(r"\[[^]]*\]", "", word).strip()
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bare):
            yield str(canonicalize_name(bare))


def _learned(
    known: Mapping[str, Mapping[str, Sequence[str]]], resolved: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """Who asked for each package, from the releases' needs by name and version (``1.0``, or ``1.0[extra]``)."""
    found: dict[str, set[str]] = {}
    for name, versions in known.items():
        parent = str(canonicalize_name(name))
        for version, needs in versions.items():
            if resolved.get(parent) != version.partition("[")[0]:
                continue
            for need in needs:
                try:
                    found.setdefault(str(canonicalize_name(Requirement(need).name)), set()).add(parent)
                except InvalidRequirement:
                    continue
    return {name: frozenset(parents - {name}) for name, parents in found.items()}
