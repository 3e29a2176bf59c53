"""``envbuild envs``: the environments in the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import output_options, settings_from
from envbuild.cli.output import aligned, open_output

if TYPE_CHECKING:
    from envbuild.store.upkeep import Collected, Kept

_HASH = click.argument("environment", metavar="MODEL|HASH")


@click.group("envs", no_args_is_help=True)
def command() -> None:
    """List, show, pin, remove and collect the environments in the store."""


@command.command("list")
@output_options
def list_command(**options: Any) -> None:
    """List the environments, the last used first.

    The size is that of all files of an environment together; those that it shares count in each. `show` says how much
    of it is its own.
    """
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "envs list") as output:
        found = sorted(Upkeep(Store(settings_from(options))).listed(), key=lambda one: one.last_used, reverse=True)
        output.result({"environments": [one.to_dict() for one in found]}, "\n".join(_rows(found)))


@command.command("show")
@_HASH
@output_options
def show_command(environment: str, **options: Any) -> None:
    """Show an environment: where, what for, how large, what in it."""
    from envbuild import environments
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "envs show") as output:
        settings = settings_from(options)
        upkeep = Upkeep(Store(settings))
        shown, texts = [], []
        for one in environments.named(environment, settings):
            taken, lock = upkeep.sizes(one.path), upkeep.lock_of(one.path)
            packages = [] if lock is None else [[package.name, package.version or ""] for package in lock.packages]
            shown.append({**one.to_dict(), "own": taken.own, "shared": taken.shared, "packages": packages})
            facts = [
                ("lock hash", one.lock_hash),
                ("path", str(one.path)),
                ("Python", _python(one)),
                ("last used", _ago(one.last_used)),
                ("state", _state(one)),
                ("size", f"{size(taken.own)} of its own, {size(taken.shared)} shared with others or the cache"),
                *(("asked by", model) for model in one.models),
                ("packages", " ".join(f"{name}=={version}" if version else name for name, version in packages)),
            ]
            texts.append("\n".join(f"{name:<10} {value}" for name, value in facts))
        output.result({"environments": shown}, "\n\n".join(texts))


@command.command("gc")
@click.option("--max-size", metavar="SIZE", help="Bytes that the store and its caches may take (20GB).")
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long (30d, 12h).")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@output_options
def gc_command(older_than: str | None, dry_run: bool, **options: Any) -> None:
    """Remove environments: the least recently used first, never one that is in use, pinned or in the making.

    Leftovers of builds that died go in any case. With --max-size the caches give up what no environment has.
    """
    from envbuild.store import Store
    from envbuild.store.upkeep import Limits, Upkeep

    with open_output(options, "envs gc") as output:
        settings = settings_from(options)
        limits = Limits(max_size=settings.max_size, older_than=None if older_than is None else _age(older_than))
        done = Upkeep(Store(settings)).collect(limits, output.report, dry_run=dry_run)
        content = {
            "dry_run": dry_run,
            "removed": [one.to_dict() for one in done.removed],
            "cleaned": list(done.cleaned),
            "before": done.before,
            "after": done.after,
            "left": list(done.left),
        }
        output.result(content, _collected(done, dry_run=dry_run))


@command.command("rm")
@_HASH
@output_options
def rm_command(environment: str, **options: Any) -> None:
    """Remove an environment."""
    from envbuild import environments
    from envbuild.errors import EnvironmentInUse
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "envs rm") as output:
        settings = settings_from(options)
        upkeep, found = Upkeep(Store(settings)), environments.named(environment, settings)
        for one in found:
            why = "it is pinned" if one.pinned else upkeep.remove(one)
            if why is not None:
                raise EnvironmentInUse(
                    f"{one.lock_hash[:12]} (Python {_python(one)}) cannot be removed: {why}",
                    hint=f"envbuild envs pin --remove {one.lock_hash[:12]}" if one.pinned else "end its workers first",
                )
        output.result({"removed": [one.to_dict() for one in found]}, "\n".join(f"removed {one.path}" for one in found))


@command.command("pin")
@_HASH
@click.option("--remove", "unpin", is_flag=True, help="Let it be collected again.")
@output_options
def pin_command(environment: str, unpin: bool, **options: Any) -> None:
    """Keep an environment from being collected."""
    from envbuild import environments
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "envs pin") as output:
        settings = settings_from(options)
        upkeep, found = Upkeep(Store(settings)), environments.named(environment, settings)
        for one in found:
            upkeep.pin(one, pinned=not unpin)
        word = "not pinned any more" if unpin else "pinned"
        content = {"environments": [upkeep.kept(one.path).to_dict() for one in found]}
        output.result(content, "\n".join(f"{one.lock_hash[:12]} (Python {_python(one)}) is {word}" for one in found))


def _rows(found: Sequence[Kept]) -> list[str]:
    if not found:
        return ["there are no environments"]
    table = [("HASH", "PYTHON", "SIZE", "LAST USED", "STATE", "ASKED BY")]
    for one in found:
        models = one.models[0] if one.models else "-"
        more = f" and {len(one.models) - 1} more" if len(one.models) > 1 else ""
        row = (one.lock_hash[:12], _python(one), size(one.size), _ago(one.last_used), _state(one), f"{models}{more}")
        table.append(row)
    return aligned(table)


def _python(one: Kept) -> str:
    return "-" if one.interpreter is None else one.interpreter.version


def _state(one: Kept) -> str:
    if one.interpreter is None:
        return "in the making" if one.in_use else "incomplete"
    states = [word for word, holds in (("in use", one.in_use), ("pinned", one.pinned)) if holds]
    return ", ".join(states) or "idle"


def _collected(done: Collected, *, dry_run: bool) -> str:
    verb = "would remove" if dry_run else "removed"
    lines = [
        f"{verb} {one.lock_hash[:12]}  Python {_python(one)}  last used {_ago(one.last_used)}" for one in done.removed
    ]
    if done.cleaned:
        packages = "everything" if "*" in done.cleaned else f"{len(done.cleaned)} packages"
        lines.append(f"{verb} {packages} from the download cache")
    lines += [f"left {text}" for text in done.left]
    if done.before is not None and done.after is not None:
        lines.append(f"{size(done.before)} before, {size(done.after)} after")
    return "\n".join(lines or ["there is nothing to remove"])


def size(count: int) -> str:
    """Bytes for people: ``1.2 GB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _ago(then: float) -> str:
    seconds = max(0.0, time.time() - then)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} seconds ago"


_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _age(text: str) -> float:
    from envbuild.errors import UsageError

    number, unit = text[:-1], text[-1:].lower()
    if unit not in _AGES or not number.replace(".", "", 1).isdigit():
        raise UsageError(f"--older-than is {text!r}, which is no age", hint="write 30d, 12h, 90m or 2w")
    return float(number) * _AGES[unit]
