"""``envbuild bundle``: everything that a model needs, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.envs import size
from envbuild.cli.options import model_argument, output_options, own_lock_options, settings_from
from envbuild.cli.output import aligned, open_output

if TYPE_CHECKING:
    from envbuild.bundles.reading import Bundle

_FILE = click.Path(path_type=Path, dir_okay=False)
_bundle_argument = click.argument("file", type=_FILE)


@click.group("bundle", no_args_is_help=True)
def command() -> None:
    """Put a model, its locks and all their files into one file, and look at one."""


@command.command("export")
@model_argument
@click.option("-o", "--output", "target", type=_FILE, required=True, help="The file to write, such as model.bundle.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="linux/ARCH|TAG",
    help="For this machine, as lock has it; several.",
)
@click.option("--without-model", is_flag=True, help="Leave the model out: it is named where the bundle is used.")
@click.option("--with-python", is_flag=True, help="Put the Python in too: one that uv manages.")
@click.option("--sign-key", type=_FILE, metavar="KEY", help="Sign it with this private key (Ed25519, PEM).")
@own_lock_options
@output_options
def export_command(model: str, target: Path, **options: Any) -> None:
    """Write MODEL, its locks and all files that they name to one file, from which it runs without a network.

    What is an sdist goes in as a wheel that is built here. The same model and locks give the same bytes.
    """
    from envbuild import bundling, pipeline
    from envbuild.target import platform_tag

    with open_output(options, "bundle export") as output:
        wanted = bundling.Options(
            platforms=tuple(platform_tag(name) for name in options.pop("platforms")),
            with_model=not options.pop("without_model"),
            with_python=options.pop("with_python"),
            sign_key=options.pop("sign_key"),
        )
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        made = bundling.export(asked, target, wanted, settings, output.report)
        notices = tuple(dict.fromkeys(notice for locked in made.locked for notice in locked.notices))
        output.notices(notices)
        taken = target.stat().st_size
        facts = {"file": str(target), "sha256": made.sha256, "size": taken, "manifest": made.manifest.to_dict()}
        said = f"{target}: {len(made.manifest.files)} files, {size(taken)}, sha256 {made.sha256}"
        output.result(facts, said, notices)


@command.command("inspect")
@_bundle_argument
@output_options
def inspect_command(file: Path, **options: Any) -> None:
    """Show what is in the bundle FILE, by its manifest; what that says of the files is checked by verify."""
    from envbuild.bundles.reading import Bundle

    with open_output(options, "bundle inspect") as output, Bundle(file) as bundle:
        output.result(_facts(bundle), "\n".join(_screen(bundle)))


@command.command("verify")
@_bundle_argument
@click.option(
    "--require-signature", type=_FILE, metavar="KEY", help="Refuse a bundle that this public key does not prove."
)
@output_options
def verify_command(file: Path, **options: Any) -> None:
    """Check every byte of the bundle FILE, and its signature where one is demanded."""
    from envbuild.bundles.reading import Bundle

    with open_output(options, "bundle verify") as output:
        settings = settings_from(options)
        with Bundle(file) as bundle:
            bundle.check_signature(settings.require_signature)
            bundle.check()
            proved = settings.require_signature is not None
            said = f"{file}: {len(bundle.manifest.files)} files are as its manifest says"
            output.result({**_facts(bundle), "signature_checked": proved}, f"{said}{_signer(bundle, proved=proved)}")


def _facts(bundle: Bundle) -> dict[str, Any]:
    by = None if bundle.signature is None else bundle.signature.fingerprint
    return {
        "file": str(bundle.path),
        "digest": bundle.manifest.digest,
        "signed_by": by,
        "manifest": bundle.manifest.to_dict(),
    }


def _signer(bundle: Bundle, *, proved: bool) -> str:
    if bundle.signature is None:
        return "; it is not signed"
    key = bundle.signature.fingerprint[:16]
    return f"; it is signed by the key {key}" if proved else f"; it says that the key {key} signed it"


def _screen(bundle: Bundle) -> list[str]:
    manifest = bundle.manifest
    facts = [
        ["digest", manifest.digest],
        ["model", manifest.model or "none"],
        ["Python", "none" if manifest.python is None else manifest.python.key],
        [
            "signed",
            "no" if bundle.signature is None else f"by the key {bundle.signature.fingerprint} (verify checks it)",
        ],
        *(["lock", f"{one.target}, lock hash {one.hash}"] for one in manifest.locks),
        *(
            ["built", f"{wheel.name} {wheel.version}, for {one.target}"]
            for one in manifest.locks
            for wheel in one.built
        ),
    ]
    files = [[one.sha256[:12], size(one.size).rjust(10), one.path] for one in manifest.files]
    return [*aligned(facts), "", *aligned(files)]
