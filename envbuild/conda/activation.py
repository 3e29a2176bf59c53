"""Activation: what a prefix's packages want set, computed once when it is built and kept in it.

conda runs the scripts in ``etc/conda/activate.d`` in the user's shell each time an environment is activated, after it has
set what ``etc/conda/env_vars.d`` and the environment itself name (conda's "Managing environments"). Here a shell runs
them once, in an environment made from nothing, and what they have changed is what a worker gets from then on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envbuild import process
from envbuild.errors import BuildError, BuildTimedOut
from envbuild.files import write_whole

FILE = "envbuild-activation.json"
# What conda writes where a variable is not to be set.
_UNSET = "***unset***"
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# A shell's own, conda's own, and what each worker has of its own.
_LEFT_OUT = ("PWD", "OLDPWD", "SHLVL", "_", "HOME", "TMPDIR", "CONDA_SHLVL", "CONDA_PROMPT_MODIFIER", "LC_ALL")
# What is set then is written down whatever a script does, and even if it ends the shell.
_SCRIPT = """
_envbuild_kept=$1; shift
trap '/usr/bin/env -0 >"$_envbuild_kept"' EXIT
for _envbuild_script do . "$_envbuild_script"; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What an activated prefix has set."""

    variables: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    """What goes before ``PATH``, beside the prefix's own ``bin``."""
    home: str = ""
    """What stands for the home directory in the values."""

    def at_home(self, home: str) -> dict[str, str]:
        """The variables as they are where the home directory is another."""
        if not self.home:
            return dict(self.variables)
        return {name: value.replace(self.home, home) for name, value in self.variables.items()}


def computed(prefix: Path, variables: Iterable[tuple[str, str]], timeout: float) -> Activation:
    """What activating a prefix sets.

    :param variables: what the environment itself sets (conda.yaml's ``variables``).
    :param timeout: seconds.
    :raises BuildError: its scripts cannot be run, or something of them cannot be read.
    :raises BuildTimedOut: they do not end.
    """
    base = {"PATH": f"{prefix / 'bin'}:{_SYSTEM_PATH}", "LC_ALL": "C.UTF-8"}
    named = {**_named_by_packages(prefix), **dict(variables)}
    conda = {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": str(prefix), "CONDA_SHLVL": "1"}
    before = {**base, **conda, **{name: value for name, value in named.items() if value != _UNSET}}
    import tempfile  # a worker only reads what was kept

    scripts = sorted(str(path) for path in (prefix / "etc" / "conda" / "activate.d").glob("*.sh"))
    if not scripts:
        return _changed(before, base, "")
    with tempfile.TemporaryDirectory(prefix="envbuild-activation-") as home:
        after = _run(scripts, {**before, "HOME": home, "TMPDIR": home}, timeout)
        return _changed(after, base, home)


def keep(prefix: Path, activation: Activation) -> None:
    """Keep it in the prefix.

    :raises OSError: it cannot be written.
    """
    content = {"variables": dict(sorted(activation.variables.items())), "path": list(activation.path)}
    if activation.home:
        content["home"] = activation.home
    write_whole(prefix / FILE, json.dumps(content, indent=1).encode())


def kept(prefix: Path) -> Activation:
    """What was kept in a prefix; an empty one where nothing was: it is no prefix of conda's packages."""
    try:
        content = json.loads((prefix / FILE).read_bytes())
        return Activation(
            variables={str(name): str(value) for name, value in content["variables"].items()},
            path=tuple(map(str, content["path"])),
            home=str(content.get("home", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Activation()


def _named_by_packages(prefix: Path) -> dict[str, str]:
    """What packages name in ``etc/conda/env_vars.d``."""
    found: dict[str, str] = {}
    for path in sorted((prefix / "etc" / "conda" / "env_vars.d").glob("*.json")):
        try:
            found |= {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise BuildError(f"a conda package's {path.relative_to(prefix)} cannot be read: {error}") from None
    return found


def _run(scripts: list[str], environ: Mapping[str, str], timeout: float) -> dict[str, str]:
    """The environment that a shell has after scripts."""
    import shutil

    # Most of them are written for bash, all are meant for any POSIX shell.
    shell = shutil.which("bash", path=_SYSTEM_PATH) or "/bin/sh"
    kept_in = Path(environ["HOME"]) / ".envbuild"
    argv = [shell, "-c", _SCRIPT, "activate", str(kept_in), *scripts]
    try:
        done = process.run(argv, env=environ, timeout=timeout)
        rows = kept_in.read_bytes().split(b"\0")
    except process.TimedOutWaiting:
        raise BuildTimedOut(
            f"the activation scripts of conda packages took longer than {timeout:g} seconds",
            hint="ENVBUILD_BUILD_TIMEOUT sets another limit",
        ) from None
    except process.NotStarted as error:
        raise BuildError(f"the activation scripts of conda packages cannot be run: {error}") from None
    except FileNotFoundError:
        said = done.stderr.splitlines()[-10:]
        raise BuildError("the activation scripts of conda packages end their shell", details=said) from None
    pairs = (row.decode("utf-8", "surrogateescape").partition("=") for row in rows if row)
    return {name: value for name, _, value in pairs}


def _changed(after: Mapping[str, str], base: Mapping[str, str], home: str) -> Activation:
    """What is other than it was before."""
    known = base["PATH"].split(":")
    path = tuple(entry for entry in after.get("PATH", "").split(":") if entry and entry not in known)
    left_out = ("PATH", *_LEFT_OUT)
    found = {
        name: value
        for name, value in after.items()
        if name not in left_out and not name.startswith(("CONDA_BACKUP_", "BASH_FUNC_"))
    }
    used = home if any(home in value for value in found.values()) else ""
    return Activation(variables=found, path=path, home=used)
