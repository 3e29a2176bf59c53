"""``envbuild image``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import ModelCommand, lock_options, model_argument, output_options, settings_from
from envbuild.cli.output import Output, open_output

if TYPE_CHECKING:
    from envbuild.images.making import ImageOptions, Images, Plan
    from envbuild.images.sending import Sent


@click.command("image", cls=ModelCommand)
@model_argument
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME:TAG", help="The image's name; may be given often.")
@click.option("--base-image", metavar="IMAGE", help="What to build on (default: what fits the model's Python).")
@click.option("--update-base", is_flag=True, help="Ask anew what the base's name and Debian's packages are today.")
@click.option("--apt", "packages", multiple=True, metavar="PACKAGE", help="Put this Debian package into it too.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Put this label on it.")
@click.option("--platform", metavar="linux/ARCH", help="The platform of the base.")
@click.option("--network", "build_network", metavar="NETWORK", help="The Docker network of building containers.")
@click.option(
    "--template", type=click.Path(path_type=Path, dir_okay=False), help="Build this Dockerfile in place of ours."
)
@click.option(
    "--write-context", type=click.Path(path_type=Path, file_okay=False), help="Write a build context; build nothing."
)
@click.option("--pull-env", is_flag=True, help="Look for the environment's image in the registry first.")
@click.option("--push", is_flag=True, help="Push both images to the registry that -t names.")
@click.option("--env-repository", metavar="REPOSITORY", help="Where images of environments lie in a registry.")
@click.option("--sbom", type=click.Path(path_type=Path, dir_okay=False), help="Write the CycloneDX SBOM to a file.")
@lock_options
@output_options
def command(model: str, **options: Any) -> None:
    """Make a Docker image of MODEL, with its environment and the HTTP side, and print its name.

    docker run -p 8080:8080 IMAGE answers POST /invocations; docker run -i IMAGE predict reads standard input. The
    environment's image is shared by all models with that lock; a change in the model alone installs nothing.
    """
    from envbuild import pipeline
    from envbuild.files import check_target
    from envbuild.images import making, sending

    wanted = {name: options.pop(name) for name in _WANTED}
    context, push, sbom = options.pop("write_context"), options.pop("push"), options.pop("sbom")
    with _logged(options) as output:
        check_target(sbom)
        settings = settings_from(options)
        chosen = _options(wanted)
        if push:
            sending.check(chosen.tags, settings)
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        if context is not None:
            _written(making.write_context(asked, settings, chosen, context, output.report), context, output)
            return
        images = making.make(asked, settings, chosen, output.report)
        output.notices(images.plan.notices)
        content = sending.sbom(images)
        if sbom is not None:
            from envbuild.files import write_whole

            write_whole(sbom, content)
        sent = sending.push(images, content, settings, output.report) if push else ()
        _say(images, sent, output)


@contextmanager
def _logged(options: dict[str, Any]) -> Iterator[Output]:
    """The command's channels; what a call that fails has said stays in a file, which the error names."""
    from envbuild.errors import EnvbuildError
    from envbuild.settings import Settings

    own: Path | None = None
    if options["log_file"] is None:
        own = options["log_file"] = _log_file(Settings.from_environ().home)
    path = options["log_file"]
    try:
        with open_output(options, "image") as output:
            yield output
    except EnvbuildError as error:
        if path is not None:
            error.details = (*error.details, f"the log is {path}")
        raise
    if own is not None:
        own.unlink(missing_ok=True)


def _log_file(home: Path) -> Path | None:
    """A new file for what a call says; none where none can be made."""
    from envbuild.errors import StoreError
    from envbuild.files import make_private

    with suppress(OSError, StoreError):
        make_private(home)
        folder = home / "images" / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        return folder / f"{stamp}-{os.getpid()}.log"
    return None


_WANTED = ("tags", "labels", "packages", "platform", "update_base", "template", "pull_env")


def _options(wanted: dict[str, Any]) -> ImageOptions:
    from envbuild.errors import UsageError
    from envbuild.images.making import ImageOptions
    from envbuild.images.reference import Reference

    labels = {}
    for label in wanted["labels"]:
        key, equals, value = label.partition("=")
        if not equals or not key:
            raise UsageError(f"--label is {label!r}", hint="write KEY=VALUE")
        labels[key] = value
    for tag in wanted["tags"]:
        Reference.parse(tag)
    return ImageOptions(
        tags=wanted["tags"],
        labels=labels,
        platform=wanted["platform"],
        packages=wanted["packages"],
        update_base=wanted["update_base"],
        template=wanted["template"],
        pull=wanted["pull_env"],
    )


def _written(plan: Plan, context: Path, output: Output) -> None:
    output.notices(plan.notices)
    content = {"context": str(context), "image_key": plan.key, "lock_hash": plan.locked.lock.hash}
    output.result(content, str(context), plan.notices)


def _say(images: Images, sent: tuple[Sent, ...], output: Output) -> None:
    from envbuild.images.sending import to_dict

    output.result(to_dict(images, sent), images.model.tags[0], images.plan.notices)
