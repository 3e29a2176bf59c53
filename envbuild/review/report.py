"""What a check found: in a few lines for a terminal, as Markdown for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from envbuild.errors import UsageError
from envbuild.files import check_target, write_whole
from envbuild.redaction import redacted
from envbuild.review.check import Checked, Tried
from envbuild.review.comparison import Comparison
from envbuild.review.difference import Changed, Difference, SideEntry

_SCHEMA_VERSION = 1
_HASH = 12
_RANGES_SHOWN = 10
_NAMES = {"own": "the model's own environment", "overridden": "the overridden environment"}
_STAGES = {"lock": "cannot be locked", "build": "cannot be built", "load": "does not load the model"}
Cells = tuple[str, ...]


def check_name(path: Path | None) -> None:
    """Refuse, before the long work begins, a report that could not be written after it.

    :raises UsageError: its ending is neither ``.md`` nor ``.json``, or there is no place for it.
    """
    if path is not None and path.suffix.lower() not in (".md", ".json"):
        raise UsageError(
            f"the ending of {path.name} does not say what report it is to be", hint="name it .md (Markdown) or .json"
        )
    check_target(path)


def write(checked: Checked, path: Path) -> None:
    """Write a report, as Markdown or JSON by the file's ending; whole or not at all.

    :raises UsageError: it cannot be written.
    """
    check_name(path)
    if path.suffix.lower() == ".md":
        content = markdown(checked)
    else:
        content = json.dumps({"schema_version": _SCHEMA_VERSION, **to_dict(checked)}, indent=1, ensure_ascii=False)
    write_whole(path, f"{redacted(content).rstrip()}\n".encode("utf-8", "backslashreplace"))


def to_dict(checked: Checked) -> dict[str, Any]:
    """The form that ``check --json`` prints, and that a report in JSON has."""
    found = checked.difference
    return {
        "result": checked.result,
        "exit_code": checked.exit_code,
        "summary": headline(checked),
        "hint": advice(checked),
        "model": str(checked.model),
        "input": {
            "kind": checked.sample.kind,
            "text": checked.sample.text,
            "content_type": checked.sample.content_type,
        },
        "expected": checked.expected,
        "tolerance": {"relative": checked.tolerance.relative, "absolute": checked.tolerance.absolute},
        "overrides": [change.to_dict() for change in checked.overrides],
        "environments": [_tried_to_dict(one) for one in checked.tried],
        "one_environment": checked.is_one_environment,
        "difference": None if found is None else found.to_dict(),
        "comparison": None if checked.comparison is None else _comparison_to_dict(checked.comparison),
    }


def _tried_to_dict(one: Tried) -> dict[str, Any]:
    failure = one.failure
    return {
        "environment": one.which,
        "python": one.python,
        "lock_hash": None if one.lock is None else one.lock.hash,
        "packages": None if one.lock is None else len(one.lock.packages),
        "path": None if one.path is None else str(one.path),
        "built": one.was_built,
        "seconds": {stage: round(seconds, 3) for stage, seconds in one.seconds.items()},
        "failure": None
        if failure is None
        else {"stage": failure.stage, "error": failure.error.to_dict(), "stderr": list(failure.stderr)},
    }


def _comparison_to_dict(found: Comparison) -> dict[str, Any]:
    return {
        "rows": {"before": found.rows_before, "after": found.rows_after},
        "rows_differing": list(found.differing),
        "values": found.values,
        "values_differing": found.values_differing,
        "largest_absolute": found.largest_absolute,
        "largest_relative": found.largest_relative,
        "shown": [
            {
                "row": row.number,
                "differences": [
                    {
                        "where": one.where,
                        "kind": one.kind,
                        "before": one.before,
                        "after": one.after,
                        "absolute": one.absolute,
                        "relative": one.relative,
                    }
                    for one in row.differences
                ],
                "more": row.more,
            }
            for row in found.shown
        ],
    }


def headline(checked: Checked) -> str:
    """The result in one sentence."""
    if checked.result == "fails":
        return _failing(checked)
    if checked.result == "works":
        return f"the model is locked, built, loaded and predicts in {_NAMES[checked.tried[-1].which]}"
    if checked.comparison is None:
        return "the override leads to the very environment that the model has without it; the model predicts in it"
    other = "the model's own environment" if checked.expected is None else checked.expected
    name = _NAMES[checked.tried[-1].which]
    if checked.result == "same":
        return f"{name} answers as {other} does: {_agreement(checked.comparison)}"
    return f"{name} does not answer as {other} does: {_extent(checked.comparison)}"


def _agreement(found: Comparison) -> str:
    """How much was compared, and how equal it is."""
    if found.listed and not found.rows_before:
        return "without a single row"
    number, noun = (found.rows_before, "row") if found.listed else (found.values, "value")
    equal = f"{number} {noun}{'' if number == 1 else 's'}, equal"
    return f"{equal} within the tolerance{_largest(found)}" if found.largest_absolute else equal


def _failing(checked: Checked) -> str:
    said = [_failed(one) for one in checked.failures]
    predicts = [one for one in checked.tried if one.failure is None]
    if not predicts:
        return "; ".join(said)
    if predicts[0].which == "own":
        return f"{said[0]}; in {_NAMES['own']} it predicts"
    return f"{said[0]}, so there is nothing to compare with; in {_NAMES['overridden']} it predicts"


def _failed(one: Tried) -> str:
    """What an environment does not do."""
    if one.failure is None:
        return ""
    return f"{_NAMES[one.which]} {_STAGES.get(one.failure.stage, 'does not predict')}"


def advice(checked: Checked) -> str | None:
    """What to do next, where something failed."""
    if checked.result != "fails":
        return None
    said = []
    if checked.sample.kind == "generated" and any(_stage(one) == "predict" for one in checked.failures):
        said.append("the input was made from the signature, and may be none that the model takes: --input gives one")
    if len(checked.tried) == 2 and checked.failures == checked.tried[:1]:
        said.append(
            "--expected FILE compares with an answer that is known (as envbuild predict -o writes it), and "
            "--only-overridden with nothing"
        )
    return "; ".join(said) or None


def _stage(one: Tried) -> str | None:
    return None if one.failure is None else one.failure.stage


def _extent(found: Comparison) -> str:
    """How much differs."""
    if not found.listed:
        return f"{_part(found.values_differing, found.values, 'value')}{_largest(found)}"
    rows = max(found.rows_before, found.rows_after)
    differ = f"{_part(len(found.differing), rows, 'row')} ({_ranges(found.differing)})"
    if found.rows_before != found.rows_after:
        differ = f"{found.rows_before} rows became {found.rows_after}; {differ}"
    return f"{differ}{_largest(found)}"


def _largest(found: Comparison) -> str:
    if not found.largest_absolute:
        return ""
    return f"; the largest difference is {found.largest_absolute:.3g}, {found.largest_relative:.3g} of the larger value"


def _part(number: int, whole: int, noun: str) -> str:
    if whole == 1:
        return f"its one {noun} differs"
    return f"{number} of {whole} {noun}s {'differs' if number == 1 else 'differ'}"


def _ranges(numbers: Sequence[int]) -> str:
    """``0-3, 7``: numbers in order, shortened."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join([*texts[:_RANGES_SHOWN], *(["…"] if len(texts) > _RANGES_SHOWN else [])])


def _facts(checked: Checked) -> list[Cells]:
    """The facts of the environments side by side; the first cell is a fact's name, the first row the header."""
    rows: list[Cells] = [("", *(one.which for one in checked.tried))]
    rows.append(("Python", *(one.python or "" for one in checked.tried)))
    rows.append(("lock hash", *("" if one.lock is None else one.lock.hash[:_HASH] for one in checked.tried)))
    rows.append(("packages", *("" if one.lock is None else str(len(one.lock.packages)) for one in checked.tried)))
    for stage in ("lock", "build", "load", "predict"):
        rows.append((stage, *(_outcome(one, stage) for one in checked.tried)))
    return rows


def _outcome(one: Tried, stage: str) -> str:
    """How a stage went."""
    if _stage(one) == stage:
        return "failed"
    seconds = {str(name): taken for name, taken in one.seconds.items()}.get(stage)
    if seconds is None:
        return ""
    return "there already" if stage == "build" and not one.was_built else f"{seconds:.2f} s"


def _context(checked: Checked) -> Iterator[tuple[str, str]]:
    """What was checked, by name."""
    yield "model", str(checked.model)
    yield "input", checked.sample.text
    for change in checked.overrides:
        yield "override", str(change)
    if checked.expected is not None:
        yield "expected", checked.expected
    if checked.comparison is not None:
        tolerance = checked.tolerance
        yield "tolerance", f"{tolerance.relative:g} of the larger value, or {tolerance.absolute:g}"


def _changes(checked: Checked) -> list[Cells]:
    """The packages that differ between the two locks, and what sdists are built with."""
    found = checked.difference
    if found is None:
        return []
    rows = [_changed(one) for one in (*found.packages, *found.builds)]
    if found.retargeted:
        same = f"{len(found.retargeted)} in the same version, as files for another target"
        rows.append(("~", same, *_targets(found)))
    return rows


def _targets(found: Difference) -> tuple[str, str]:
    return found.target or ("", "")


def _changed(one: Changed) -> Cells:
    name = one.name if one.built is None else f"{one.name} (builds {one.built})"
    return (one.sign, name, _version(one, one.before), _version(one, one.after))


def _version(one: Changed, entry: SideEntry | None) -> str:
    """A package's version; where only its file is another, that."""
    if entry is None:
        return ""
    same = one.before is not None and one.after is not None and one.before.version == one.after.version
    more = ", ".join(part for part in (entry.file, entry.identity[:_HASH]) if part) if same else ""
    return " ".join(part for part in (entry.version, f"({more})" if more else "") if part) or entry.file


def _rows(found: Comparison) -> Iterator[Cells]:
    """What differs in the first rows."""
    for row in found.shown:
        name = str(row.number) if found.listed else "the answer"
        for one in row.differences:
            yield (name, one.where, one.before or "", one.after or "", _number(one.absolute), _number(one.relative))
        if row.more:
            yield (name, f"and {row.more} more", "", "", "", "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _sides(checked: Checked) -> tuple[str, str]:
    return ("own" if checked.expected is None else "expected", checked.tried[-1].which)


def text(checked: Checked) -> str:
    """The result and what led to it, for a terminal."""
    lines = [f"{checked.result}: {headline(checked)}"]
    hint = advice(checked)
    lines += [] if hint is None else [f"hint: {hint}"]
    lines += ["", *_aligned(list(_context(checked)))]
    lines += ["", *_aligned(_facts(checked))]
    for one in checked.failures:
        lines += ["", *_failure_lines(one)]
    if changes := _changes(checked):
        lines += ["", "packages that differ", *_aligned(changes)]
    if checked.comparison is not None and not checked.comparison.same:
        head: Cells = ("row", "where", *_sides(checked), "absolute", "relative")
        lines += ["", "rows that differ", *_aligned([head, *_rows(checked.comparison)])]
        lines += _left_out(checked.comparison)
    return "\n".join(lines)


def _left_out(found: Comparison) -> list[str]:
    more = len(found.differing) - len(found.shown)
    return [f"and {more} more row{'' if more == 1 else 's'}"] if more > 0 else []


def _failure_lines(one: Tried) -> list[str]:
    if one.failure is None:
        return []
    error = one.failure.error
    lines = [f"{_failed(one)}: error[{error.code}]: {error}", *(f"  | {detail}" for detail in error.details)]
    lines += [] if error.hint is None else [f"  hint: {error.hint}"]
    return lines


def _aligned(rows: Sequence[Cells]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]


def markdown(checked: Checked) -> str:
    """The report for people: the result first, then what led to it."""
    lines = [
        f"# Check of {_plain(checked.model.name)}: {checked.result}",
        "",
        f"{_plain(_sentence(headline(checked)))}",
    ]
    hint = advice(checked)
    lines += [] if hint is None else ["", _plain(_sentence(hint))]
    lines += ["", *_table(("", ""), [(name, _code(said)) for name, said in _context(checked)])]
    lines += ["", "## Environments", "", *_table(_facts(checked)[0], _facts(checked)[1:])]
    for one in checked.failures:
        lines += ["", *_failure_section(one)]
    if changes := _changes(checked):
        lines += ["", "## Packages that differ", "", *_table(("", "package", "own", "overridden"), changes)]
    if checked.comparison is not None and not checked.comparison.same:
        lines += ["", *_rows_section(checked, checked.comparison)]
    return "\n".join(lines) + "\n"


def _rows_section(checked: Checked, found: Comparison) -> list[str]:
    head = ("row", "where", *_sides(checked), "absolute", "relative")
    rows = [
        (name, _code(where), _code(before), _code(after), *numbers)
        for name, where, before, after, *numbers in _rows(found)
    ]
    return ["## Rows that differ", "", *_table(head, rows), *(["", *_left_out(found)] if _left_out(found) else [])]


def _failure_section(one: Tried) -> list[str]:
    if one.failure is None:
        return []
    error = one.failure.error
    lines = [f"## What failed: {_failed(one)}", "", f"`{error.code}`", "", *_block([str(error), *error.details])]
    lines += [] if error.hint is None else ["", _plain(_sentence(error.hint))]
    if one.failure.stderr and one.failure.stderr != error.details:
        lines += ["", "The last lines that the model printed:", "", *_block(one.failure.stderr)]
    return lines


def _table(head: Cells, rows: Iterable[Cells]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines]


def _cell(said: str) -> str:
    return " ".join(said.split()).replace("|", "\\|")


def _code(said: str) -> str:
    """A text as it is: nothing in it is Markdown or HTML."""
    if not said:
        return ""
    fence = "`" * (max((len(list(run)) for tick, run in groupby(said) if tick == "`"), default=0) + 1)
    space = " " if said[0] == "`" or said[-1] == "`" else ""
    return f"{fence}{space}{said}{space}{fence}"


def _block(lines: Iterable[str]) -> list[str]:
    content = "\n".join(lines)
    ticks = max((len(list(run)) for tick, run in groupby(content) if tick == "`"), default=0)
    fence = "`" * max(3, ticks + 1)
    return [f"{fence}text", *content.splitlines(), fence]


def _plain(said: str) -> str:
    """A sentence, in which nothing is Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in " ".join(said.split()))


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:].rstrip('.')}."
