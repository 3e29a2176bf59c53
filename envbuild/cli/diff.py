"""``envbuild diff``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import lock_options, output_options
from envbuild.cli.output import open_output

if TYPE_CHECKING:
    from envbuild.review.difference import Changed, Difference, Side, SideEntry

DIFFERENT = 10
_HASH = 12
# Of the options for locking those that say where and how, and not what: an override has an operand of its own.
_WHERE_AND_HOW = (
    "repair",
    "allow_repair",
    "deny_repair",
    "expand",
    "index_url",
    "extra_index_url",
    "index_strategy",
    "index_ca",
    "index_client_cert",
    "index_token_command",
    "keyring_provider",
    "find_links",
    "model_indexes",
    "conda_packages",
    "conda_mirror",
    "link_scripts",
    "virtual_package",
    "locked",
    "update",
    "offline",
    "python_source",
    "python_policy",
    "retry",
)


def _where_and_how() -> list[click.Parameter]:
    @click.command()
    @lock_options
    def every(**options: Any) -> None:
        """Have all the options for locking."""

    return [one for one in every.params if one.name in _WHERE_AND_HOW]


@click.command("diff", params=_where_and_how())
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--model", type=click.Path(path_type=Path), help="The model that an override file is taken for.")
@output_options
def command(a: str, b: str, model: Path | None, **options: Any) -> int:
    """Say what differs between A and B: packages, Python, target. The exit code is 10 where anything does.

    Each is a model's directory, a lock file, an environment (its lock hash or directory), an image, or an override
    file. A model is locked if it was not. An override file stands for the other side's model, or --model, under it; two
    of them without a model are compared entry by entry.
    """
    from envbuild.review import sides

    with open_output(options, "diff") as output:
        given = {
            name: value for name, value in options.items() if value is not None and value is not False and value != ()
        }
        found = sides.between(a, b, given, model, output.report)
        output.notices(found.notices)
        output.result(found.to_dict(), _screen(found), found.notices)
    return 0 if found.is_equal else DIFFERENT


def _screen(found: Difference) -> str:
    if found.is_equal:
        return f"no difference: {', '.join(_facts(found.a))}"
    head = [
        ("a", f"{found.a.label}: {', '.join(_facts(found.a))}"),
        ("b", f"{found.b.label}: {', '.join(_facts(found.b))}"),
    ]
    head += [(name, f"{pair[0]} -> {pair[1]}") for name, pair in _pairs(found) if pair is not None]
    width = max(len(name) for name, _ in head)
    lines = [f"{name:<{width}}  {text}" for name, text in head]
    return "\n".join([*lines, "", *_changes(found), _count(found)])


def _pairs(found: Difference) -> Iterator[tuple[str, tuple[str, str] | None]]:
    yield "Python", found.python
    yield "target", found.target
    dates = (found.a.as_of, found.b.as_of)
    yield "as of", dates if all(dates) and dates[0] != dates[1] else None


def _facts(side: Side) -> Iterator[str]:
    if side.kind == "override":
        yield f"{len(side.packages)} entries"
        return
    yield f"{len(side.packages)} packages"
    if side.python is not None:
        yield f"Python {side.python}"
    if side.lock_hash is not None:
        yield f"lock {side.lock_hash[:_HASH]}"


def _changes(found: Difference) -> list[str]:
    rows = [(one.sign, one.name, _said(one)) for one in found.packages]
    rows += [(one.sign, f"{one.name} (builds {one.built})", _said(one)) for one in found.builds]
    width = max((len(name) for _, name, _ in rows), default=0)
    colours = {"+": "green", "-": "red", "~": "yellow"}
    lines = [f"{click.style(sign, fg=colours[sign])} {name:<{width}}  {text}".rstrip() for sign, name, text in rows]
    return [*lines, ""] if lines else []


def _said(one: Changed) -> str:
    """What became of a package."""
    if one.before is None or one.after is None:
        return _version(one.before or one.after)
    if one.before.version != one.after.version:
        return f"{_version(one.before)} -> {_version(one.after)}"
    what = []
    if one.before.extras is not None and one.after.extras is not None and one.before.extras != one.after.extras:
        what.append(f"extras {_extras(one.before)} -> {_extras(one.after)}")
    if one.before.identity != one.after.identity:
        what.append(_other_file(one.before, one.after))
    return f"{_version(one.before)}, {', '.join(what)}".removeprefix(", ")


def _other_file(before: SideEntry, after: SideEntry) -> str:
    if before.file != after.file:
        return f"{before.file or 'another file'} -> {after.file or 'another file'}"
    return f"another {before.file or 'file'}: {before.identity[:_HASH]} -> {after.identity[:_HASH]}"


def _version(entry: SideEntry | None) -> str:
    if entry is None:
        return ""
    return entry.version if entry.version is not None else entry.file


def _extras(entry: SideEntry) -> str:
    return f"[{','.join(entry.extras or ())}]"


def _count(found: Difference) -> str:
    retargeted = len(found.retargeted)
    counts = [
        f"{len(found.added)} added",
        f"{len(found.removed)} removed",
        f"{len(found.changed) - retargeted} changed",
        *([f"{retargeted} in the same version for another target"] if retargeted else []),
        f"{found.equal} the same",
    ]
    return ", ".join(counts)
