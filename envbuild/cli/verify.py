"""``envbuild verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import output_options, settings_from
from envbuild.cli.output import Output, open_output

if TYPE_CHECKING:
    from envbuild.environments import Verified
    from envbuild.settings import Settings


@click.command("verify")
@click.argument("environment", required=False, metavar="[MODEL|HASH|IMAGE]")
@click.option("--all", "everything", is_flag=True, help="Verify every environment in the store.")
@click.option("--repair", "again", is_flag=True, help="Build what is damaged again.")
@output_options
def command(environment: str | None, everything: bool, again: bool, **options: Any) -> None:
    """Read every file of an environment or an image again: is it still exactly what was built?

    Compared are the files with the manifest, the manifest with what the wheels say of their files, and what is
    installed with the lock. HASH is a lock hash or its beginning; IMAGE is an image's name, and nothing of it is run.
    """
    from envbuild import environments
    from envbuild.errors import EnvironmentDamaged, UsageError
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "verify") as output:
        settings = settings_from(options)
        if everything == (environment is not None):
            raise UsageError(
                "give a MODEL, a HASH, an IMAGE or --all", hint="envbuild verify --help shows what there is"
            )
        if environment is not None and environments.is_image(environment):
            _verify_image(environment, output, again=again)
            return
        chosen = (
            tuple(Upkeep(Store(settings)).listed()) if everything else environments.named(environment or "", settings)
        )
        found = environments.verified(chosen, settings)
        damaged = [one for one in found if one.findings]
        if damaged and not again:
            raise EnvironmentDamaged(
                _message(damaged, len(found)),
                hint="envbuild verify --repair builds it again",
                details=[line for one in damaged for line in _lines(one)],
            )
        for one in damaged:
            _repair(one, settings, output)
        content = {
            "environments": [
                {**one.environment.to_dict(), "findings": [finding.to_dict() for finding in one.findings]}
                for one in found
            ],
            "images": [],
            "repaired": [one.environment.lock_hash for one in damaged],
        }
        output.result(content, "\n".join(_said(one) for one in found))


def _verify_image(reference: str, output: Output, *, again: bool) -> None:
    from envbuild.errors import EnvironmentDamaged, UsageError
    from envbuild.images.verification import verified

    if again:
        raise UsageError("--repair is for environments in the store", hint="envbuild image makes an image again")
    found = verified(reference, output.report)
    if found.findings:
        raise EnvironmentDamaged(
            f"the image {reference} is not as it was built",
            hint="do not deploy it; envbuild image makes it again",
            details=[f"{finding.kind}: {finding}" for finding in found.findings],
        )
    image = {"image": reference, "id": found.id, "lock_hash": found.lock_hash}
    content = {"environments": [], "images": [image], "repaired": []}
    output.result(content, f"{found.id[:19]}  {reference}  as it was built")


def _message(damaged: list[Verified], among: int) -> str:
    first = damaged[0].environment
    if among == 1:
        return f"the environment {first.lock_hash[:12]} at {first.path} is not as it was built"
    return f"{len(damaged)} of {among} environments are not as they were built"


def _lines(one: Verified) -> list[str]:
    return [f"{one.environment.lock_hash[:12]} {finding.kind}: {finding}" for finding in one.findings]


def _repair(one: Verified, settings: Settings, output: Output) -> None:
    from envbuild import environments
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    for line in _lines(one):
        output.detail(line)
    if one.environment.interpreter is None:
        # What a dead build left: there is nothing to build again.
        Upkeep(Store(settings)).remove(one.environment)
    else:
        environments.build_again(one.environment, settings, output.report).lease.release()


def _said(one: Verified) -> str:
    python = one.environment.interpreter.version if one.environment.interpreter else "incomplete"
    state = f"built again ({len(one.findings)} findings)" if one.findings else "as it was built"
    return f"{one.environment.lock_hash[:12]}  Python {python}  {state}"
