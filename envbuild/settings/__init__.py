"""Settings: what the one who deploys decides once, from ``ENVBUILD_*`` variables or the command line.

The only reader of ``ENVBUILD_*``. Nothing inside a model's directory can change a setting.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from envbuild.settings.values import (
    CondaPackages,
    Engine,
    IndexStrategy,
    KeyringProvider,
    LinkMode,
    Loader,
    ModelIndexes,
    Nan,
    PythonPolicy,
    PythonSource,
    Repair,
    check_variable,
    name_and_url,
    read_given,
    size_of,
    variable,
)

__all__ = [
    "EVERY_PACKAGE",
    "OVERRIDES",
    "CondaPackages",
    "Engine",
    "IndexStrategy",
    "KeyringProvider",
    "LinkMode",
    "Loader",
    "ModelIndexes",
    "Nan",
    "PythonPolicy",
    "PythonSource",
    "Repair",
    "Settings",
    "check_variable",
    "index_login",
    "name_and_url",
    "names_package",
    "size_of",
]


# The settings that change what a model's environment is; the others say where and how it is had.
OVERRIDES = (
    "set",
    "add",
    "remove",
    "constraint",
    "requirements",
    "conda_env",
    "python",
    "only_binary",
    "no_binary",
    "no_build",
    "accelerator",
    "as_of",
    "lock",
    "environment",
    "override",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One call's settings. Times are in seconds.

    Each field is set by the variable ``ENVBUILD_`` plus its name in capitals (``ENVBUILD_INDEX_URL``), and by the
    command line's option of that name; lists are separated by white space in variables.
    """

    home: Path
    """The store's root; uv's cache lies inside it, on the same file system, so that files can be linked."""
    engine: Engine = "uv"
    """What resolves and installs: uv; pip with pip-tools, of the model's own time; ``auto``: uv, and pip where uv refuses
    what pip takes (docs/engines.md)."""
    index_url: str | None = None
    """The main index (PEP 503/691), ``URL`` or ``NAME=URL``; ``None``: the engine's own default."""
    extra_index_url: tuple[str, ...] = ()
    keyring_provider: KeyringProvider = "disabled"
    """Whether the program ``keyring`` is asked for passwords of indexes whose user is known."""
    index_ca: Path | None = None
    """Certificate authorities that indexes are believed by, beside the system's (PEM)."""
    index_client_cert: Path | None = None
    """The certificate that is shown to indexes, with its key (PEM)."""
    index_token_command: str | None = field(default=None, repr=False)
    """A command that prints what logs in to indexes (docs/indexes.md); ``{host}`` in it is the index's host."""
    find_links: tuple[str, ...] = ()
    index_strategy: IndexStrategy = "first-index"
    """Which index a package comes from: the first that has it, or whichever has the best version (docs/indexes.md)."""
    model_indexes: ModelIndexes = "known"
    """What becomes of index lines inside a model: those on the shipped list, all, or none."""
    expand: tuple[str, ...] = ()
    """The variables that ``${VAR}`` in a model's files may name; any other stays as it is written and is reported."""
    as_of: str = "created"
    """``created``, ``now``, or a date (``2021-04-30``) or instant (RFC 3339)."""
    python: str | None = None
    """A version (``3.8``, ``3.8.18``) or the path of an interpreter, in place of what the model says."""
    python_policy: PythonPolicy = "minor"
    """``exact``: that very version; ``minor``: else the newest patch release of the same minor version, with a note."""
    python_source: PythonSource = "auto"
    """Where a Python comes from: ``auto``: this machine, else a managed one that uv fetches; ``conda``: conda's channel
    ``conda-forge`` (docs/conda.md)."""
    python_downloads: bool = True
    """Whether a Python may be downloaded when none is found."""
    repair: Repair = "safe"
    """Which repairs may be used: those that keep every version that the model pins, all, or none (docs/repairs.md)."""
    allow_repair: tuple[str, ...] = ()
    """Repairs that may be used whatever ``repair`` says, by name."""
    deny_repair: tuple[str, ...] = ()
    """Repairs that may not be used whatever else is said, by name."""
    set: tuple[str, ...] = ()
    """Requirements that count in place of whatever asks for their packages (docs/override.md)."""
    add: tuple[str, ...] = ()
    """Requirements beside the model's own."""
    remove: tuple[str, ...] = ()
    """Names of packages that the environment is not to have."""
    constraint: tuple[Path, ...] = ()
    """Files of constraints, as pip has them."""
    requirements: tuple[Path, ...] = ()
    """Requirements files that replace everything the model asks for, but its Python."""
    conda_env: Path | None = None
    """A conda.yaml that replaces all of the model's own files."""
    only_binary: tuple[str, ...] = ()
    """Packages that are taken as wheels alone; ``:all:`` for every one."""
    no_binary: tuple[str, ...] = ()
    """Packages that are built from their sdists; ``:all:`` for every one."""
    override: Path | None = None
    """A file that holds any of these (docs/override.md)."""
    environment: str | None = None
    """A curated environment that replaces the model's own: ``NAME``, ``NAME:VERSION`` or the path of its file."""
    environments: str | None = None
    """Where curated environments lie: a folder or a URL."""
    accelerator: str = "auto"
    """Which build of torch and tensorflow: ``auto`` (by this machine), ``cpu``, ``cu118``, …"""
    torch_index: str | None = None
    """Where builds of torch for single accelerators lie, a folder each; ``None``: PyTorch's own."""
    conda_packages: CondaPackages = "auto"
    """What becomes of conda.yaml's own packages: ``conda``: installed from their channels; ``map``: taken from the index by
    a list of names; ``auto``: the former where ``envbuild[conda]`` is installed (docs/conda.md)."""
    conda_mirror: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """URLs in place of channels, each a name or a URL and another URL (``defaults=https://…`` as text)."""
    link_scripts: bool = False
    """Let conda packages run their own scripts when they are linked; a lock that says so needs this to be built."""
    virtual_package: tuple[tuple[str, str], ...] = ()
    """What a machine has that conda packages are solved for, in place of what this one has: names and versions
    (``__cuda=11.2`` as text)."""
    no_build: bool = False
    """Refuse sdists: nothing of a package's own build code runs."""
    lock: Path | None = None
    bundle: Path | None = None
    """A bundle that everything comes from, the model too where it holds one; the network is then not touched
    (docs/bundles.md)."""
    require_signature: Path | None = None
    """A public key of Ed25519 (a PEM file): a bundle that its other half did not sign is refused."""
    locked: bool = False
    """Use an existing lock that fits, or fail."""
    update: bool = False
    """Resolve again although a lock is kept."""
    offline: bool = False
    lock_timeout: float = 900.0
    build_timeout: float = 3600.0
    load_timeout: float = 600.0
    predict_timeout: float = 3600.0
    idle_timeout: float | None = None
    """After how many idle seconds a worker that is kept is ended; the next prediction starts another."""
    max_memory: int | None = None
    """Bytes that a worker and all that it starts may take."""
    max_output: int | None = None
    """The longest answer, in bytes."""
    no_network: bool = False
    """The model reaches nothing but itself."""
    read_only: bool = False
    """The model can write neither its own files nor the environment's."""
    no_enforce: bool = False
    """Leave it to the model what fits its signature."""
    pass_env: tuple[str, ...] = ()
    """The variables of this process that the model sees beside the usual ones, by name."""
    set_env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Variables that the model sees, each a name and a value (``NAME=VALUE`` as text); they may be secrets."""
    nan: Nan = "null"
    loader: Loader = "auto"
    """What loads the model: its environment's mlflow, or our own loader where that gives the same answers (docs/loaders.md)."""
    workers: int = 1
    """How many workers have the model loaded side by side."""
    keep_warm: float | None = None
    """For how many idle seconds a worker stays behind for the next call (docs/resident.md); ``None``: not at all."""
    link_mode: LinkMode = "auto"
    """How files are shared between the cache and the environments (docs/store.md)."""
    parallel: int = field(default_factory=lambda: max(2, os.cpu_count() or 1))
    """How many environments are built at once in a store, and how many models are locked at once."""
    retry: bool = False
    """Try again at once what failed a moment ago."""
    failure_memory: float = 30.0
    """For how long a failure is remembered, and told to whoever asks for the same."""
    max_size: int | None = None
    """Bytes that the store and its cache may take: a build that makes them more collects what was not used for longest."""
    base_image: str | None = None
    """What images are built on; ``None``: what fits the model's Python (docs/images.md)."""
    server_python: str | None = None
    """The Python of the HTTP side in images, by version or path; ``None``: a portable build, else the one that runs us."""
    build_network: str = "default"
    """The Docker network of building containers; ``none`` gives them none."""
    env_repository: str | None = None
    """Where images of environments are pushed to and pulled from; ``None``: ``env`` beside the model's image."""
    shared: bool = False
    """The store is shared with a group: its directories are the group's to write, and its files may be another user's."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """The settings of an environment; what is ``given`` and is not ``None`` wins.

        :raises UsageError: a variable, or a name given, cannot be understood.
        """
        environ = os.environ if environ is None else environ
        values = read_given((field.name for field in fields(cls)), environ, given)
        if "home" not in values:
            values["home"] = _default_home()
        if "bundle" in values:
            values["offline"] = True
        return cls(**values)

    def without_override(self) -> Settings:
        """The same as nobody deploys otherwise: the model's own environment, from the same indexes by the same repairs."""
        own: dict[str, Any] = {one.name: one.default for one in fields(self) if one.name in OVERRIDES}
        return replace(self, **own)

    def having(self, **changes: Any) -> Settings:
        """These settings with some changed; ``None`` leaves one as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


def index_login(name: str) -> tuple[str, str | None]:
    """The user (maybe empty) and the password, if any, that variables give for an index by its name."""
    word = re.sub(r"[^A-Z0-9]", "_", name.upper())
    user, password = (os.environ.get(variable(f"index_{word}_{what}")) for what in ("username", "password"))
    return user or "", password or None


EVERY_PACKAGE = ":all:"


def names_package(options: tuple[str, ...], name: str) -> bool:
    """Whether packages that an option names, or its ``:all:``, include one (by its normalised name)."""
    # Imported here: few calls name any.
    from packaging.utils import canonicalize_name

    return any(option == EVERY_PACKAGE or canonicalize_name(option) == name for option in options)


def _default_home() -> Path:
    # Imported here because most calls of `--help` and of a library user's own settings never need it.
    import platformdirs

    return platformdirs.user_cache_path("envbuild")
