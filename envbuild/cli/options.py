"""The options that commands share, and the settings that they come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from envbuild.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])

# A directory, an archive or a URI: which, says envbuild.locations.
model_argument = click.argument("model")


class ModelCommand(click.Command):
    """A command with a MODEL, which may be a bundle: named in MODEL's place, or by ``--bundle`` and MODEL left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :class:`click.Command`."""
        said, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        return super().parse_args(ctx, _with_bundle(args, said.get("bundle"), said.get("model")))


def _with_bundle(args: list[str], bundle: Any, model: Any) -> list[str]:
    """The words of a call with MODEL and ``--bundle`` where one of them says both."""
    if isinstance(bundle, str):
        path = Path(bundle).absolute()
        if isinstance(model, str) and (Path(model).absolute() == path or _is_model(Path(model))):
            return args
        from envbuild.bundles.reading import holds_model

        return [str(path), *args] if holds_model(path) else args
    if isinstance(model, str) and Path(model).is_file():
        from envbuild.bundles.reading import is_bundle

        return ["--bundle", model, *args] if is_bundle(Path(model)) else args
    return args


def _is_model(path: Path) -> bool:
    return path.name == "MLmodel" or (path / "MLmodel").is_file()


_OUTPUT = (
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (docs/cli.md has the schema)."),
    click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings on stderr."),
    click.option("-v", "--verbose", is_flag=True, help="Say more: where settings and files come from."),
    click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Write every step to a file too."),
)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OVERRIDE = (
    click.option("--python", metavar="VERSION|PATH", help="Use this Python in place of the model's."),
    click.option("--set", multiple=True, metavar="REQUIREMENT", help="Replace what asks for this package."),
    click.option("--add", multiple=True, metavar="REQUIREMENT", help="Ask for this as well."),
    click.option("--remove", multiple=True, metavar="NAME", help="Leave this package out, whoever asks for it."),
    click.option("--constraint", multiple=True, type=_FILE, help="Bind versions, as pip's constraints do."),
    click.option("--requirements", multiple=True, type=_FILE, help="Replace all requirements, but not the Python."),
    click.option("--conda-env", type=_FILE, help="A conda.yaml in place of all of the model's files."),
    click.option("--environment", metavar="NAME|FILE", help="A curated environment in place of the model's own."),
    click.option("--override", type=_FILE, help="A file that holds any of these (docs/override.md)."),
    click.option("--only-binary", multiple=True, metavar="NAME|:all:", help="Take wheels alone."),
    click.option("--no-binary", multiple=True, metavar="NAME|:all:", help="Build from the sdist."),
    click.option("--accelerator", metavar="auto|cpu|cuXXX", help="Which build of torch and tensorflow."),
    click.option(
        "--conda-packages",
        type=click.Choice(["auto", "conda", "map"]),
        help="Install conda.yaml's own packages from their channels, or map them to the index (docs/conda.md).",
    ),
)
_SPEC = (
    *_OVERRIDE,
    click.option(
        "--repair",
        type=click.Choice(["safe", "all", "none"]),
        help="Which repairs may be used (default: those that keep what the model pins).",
    ),
    click.option("--allow-repair", multiple=True, metavar="NAME", help="Allow this repair (docs/repairs.md)."),
    click.option("--deny-repair", multiple=True, metavar="NAME", help="Refuse this repair."),
    click.option("--expand", multiple=True, metavar="NAME", help="Let ${NAME} in the model's files be expanded."),
)
_ENGINE = click.option(
    "--engine",
    type=click.Choice(["uv", "pip", "auto"]),
    help="What resolves and installs (default: uv; auto: pip where uv refuses what pip takes).",
)
_WHICH_LOCK = (
    click.option("--as-of", metavar="created|now|DATE", help="As of when unpinned packages are resolved."),
    click.option(
        "--lock", type=click.Path(path_type=Path, dir_okay=False), help="Use this pylock.toml or conda-lock.yml."
    ),
    click.option("--no-build", is_flag=True, default=None, help="Refuse sdists; take wheels alone."),
    click.option("--index-url", metavar="[NAME=]URL", help="The package index, in place of the default one."),
    click.option("--extra-index-url", multiple=True, metavar="[NAME=]URL", help="One more package index."),
    click.option("--index-ca", type=_FILE, help="Believe these authorities of indexes too (PEM)."),
    click.option("--index-client-cert", type=_FILE, help="Show indexes this certificate (PEM, with its key)."),
    click.option("--index-token-command", metavar="COMMAND", help="Prints a token for the indexes (docs/indexes.md)."),
    click.option(
        "--keyring-provider",
        type=click.Choice(["disabled", "subprocess"]),
        help="Ask the program keyring for passwords of indexes.",
    ),
    click.option("--find-links", multiple=True, metavar="URL|PATH", help="One more place that holds package files."),
    click.option(
        "--index-strategy",
        type=click.Choice(["first-index", "best-match"]),
        help="Take a package from the first index that has it (default), or the best version of all (docs/indexes.md).",
    ),
    click.option("--conda-mirror", multiple=True, metavar="CHANNEL=URL", help="Where a conda channel is had."),
    click.option("--link-scripts", is_flag=True, default=None, help="Let conda packages run scripts of their own."),
    click.option(
        "--virtual-package", multiple=True, metavar="__NAME=VERSION", help="What conda packages are solved for."
    ),
    click.option(
        "--model-indexes",
        type=click.Choice(["known", "allow", "deny"]),
        help="Which index lines inside a model apply (default: those of a short known list).",
    ),
)
_BUNDLE = (
    click.option("--bundle", type=_FILE, help="Take everything from this bundle, and nothing from a network."),
    click.option(
        "--require-signature", type=_FILE, metavar="KEY", help="Refuse a bundle that this public key does not prove."
    ),
)
_HOW_TO_LOCK = (
    click.option("--locked", is_flag=True, default=None, help="Use an existing lock file that fits, or fail."),
    click.option("--update", is_flag=True, default=None, help="Resolve again although a lock is kept."),
    click.option("--offline", is_flag=True, default=None, help="Never touch the network."),
    click.option("--python-source", type=click.Choice(["auto", "conda"]), help="Where Python comes from."),
    click.option("--python-policy", type=click.Choice(["exact", "minor"]), help="Which patch releases will do."),
    click.option(
        "--link-mode",
        type=click.Choice(["auto", "clone", "hardlink", "copy"]),
        help="How environments share files with the cache (default: clones, else hard links).",
    ),
    click.option("--retry", is_flag=True, default=None, help="Try again at once what failed a moment ago."),
)
_WORKER = (
    click.option(
        "--loader",
        type=click.Choice(["auto", "mlflow", "direct"]),
        help="What loads the model (default: our own loader where that gives the same answers, else mlflow).",
    ),
    click.option("--no-enforce", is_flag=True, default=None, help="Leave it to the model what fits its signature."),
    click.option("--load-timeout", type=float, metavar="SECONDS", help="How long loading the model may take."),
    click.option("--predict-timeout", type=float, metavar="SECONDS", help="How long the prediction may take."),
    click.option("--max-memory", metavar="SIZE", help="What the model may take (2GB, 500MiB)."),
    click.option("--max-output", metavar="SIZE", help="How long the answer may be."),
    click.option("--no-network", is_flag=True, default=None, help="Let the model reach nothing but itself."),
    click.option(
        "--read-only", is_flag=True, default=None, help="Let the model change neither its files nor its packages."
    ),
    click.option("--pass-env", multiple=True, metavar="NAME", help="Let the model see this variable of ours."),
    click.option("--set-env", multiple=True, metavar="NAME=VALUE", help="Let the model see this variable."),
)


def _all(options: tuple[Callable[[Function], Function], ...]) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def output_options(function: Function) -> Function:
    """``--json``, ``-q``, ``-v``, ``--log-file``."""
    return _all(_OUTPUT)(function)


def spec_options(function: Function) -> Function:
    """What changes the spec, and what says which lock is its."""
    return _all((*_SPEC, _ENGINE, *_WHICH_LOCK, *_BUNDLE))(function)


def lock_options(function: Function) -> Function:
    """What changes how a spec is locked and an environment is found; those of the spec included."""
    return _all((*_SPEC, _ENGINE, *_WHICH_LOCK, *_BUNDLE, *_HOW_TO_LOCK))(function)


def batch_lock_options(function: Function) -> Function:
    """:func:`lock_options` of a command that has an ``--engine`` of its own."""
    return _all((*_SPEC, *_WHICH_LOCK, *_BUNDLE, *_HOW_TO_LOCK))(function)


def own_lock_options(function: Function) -> Function:
    """:func:`lock_options` of what makes a bundle, and takes nothing from one."""
    return _all((*_SPEC, _ENGINE, *_WHICH_LOCK, *_HOW_TO_LOCK))(function)


def worker_options(function: Function) -> Function:
    """How the worker is treated: what it may take, reach and see."""
    return _all(_WORKER)(function)


def settings_from(options: dict[str, Any]) -> Settings:
    """The settings of a call: its options over ``ENVBUILD_*`` over the defaults.

    :raises UsageError: one of them cannot be understood.
    """
    from envbuild.override.merging import settings_from as merged

    return merged(stated(options))


def stated(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    # By identity: 0 is a value (a wrong one), and equals False.
    return {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
