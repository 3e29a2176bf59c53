"""Running pip and pip-tools: what they may see, and what their words mean.

Nothing of the user's settings or credentials reaches them, nor what sdists run while they are built.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuild import process, system_errors, uv
from envbuild.interpreters import Interpreter
from envbuild.process import Completed
from envbuild.progress import Phase, Report, Step
from envbuild.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """A virtualenv of a model's Python with its pip, and pip-tools where that was asked for."""

    python: Path
    interpreter: Interpreter
    versions: Mapping[str, str]
    """Of pip, and of setuptools and wheel, which old pips build with."""
    pip_tools: str | None
    unpacked: Path | None = None
    """The directory that a wheel of pip was unpacked into, for a Python that has no pip."""

    @property
    def pip(self) -> str:
        """The version of pip."""
        return self.versions["pip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of something in the tools' virtualenv."""

    tools: Tools
    arguments: Sequence[str]
    """What follows ``python -m``: ``("pip", "install", …)``, ``("piptools", "compile", …)``."""
    settings: Settings
    index_url: str | None = None
    """A :class:`~envbuild.dated_index.index.DatedIndex`'s; ``None``: no index at all."""
    cwd: Path | None = None
    stdin: str = ""
    timeout: float | None = None
    on_start: Callable[[process.Child], None] | None = None
    """Called with the process, so that another thread can end it before its time."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that everything gets."""
    python: Path | None = None
    """Another Python than the tools' own, for a pip that works on another environment."""
    needed: int | None = None
    """How many bytes will be written at least, where that is known: for when the disk is full."""


# Neither as a directory (pip 9 would then take its own `wheel` for the package of that name) nor out of a zip (those from
# 19 to 21.1 run a file of theirs when they build) does every pip work; on the path, every pip does.
_UNPACKED = (
    "import runpy, sys; sys.path[0] = sys.argv.pop(1); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def run(call: Call, report: Report) -> Completed:
    """Run pip or pip-tools to its end.

    :raises process.TimedOutWaiting: after ``call.timeout`` seconds.
    :raises StoreError: the disk is full, or pip may not write to the store.
    """
    python, unpacked = call.python or call.tools.python, call.tools.unpacked
    program = ["-m"] if unpacked is None else ["-c", _UNPACKED, str(unpacked)]
    # Not as an argument: those are for every user to read, and setup scripts that install what they need read this.
    with _surroundings(call.index_url) as environ:
        done = process.run(
            [str(python), *program, *call.arguments],
            env={**environ, **call.environ},
            cwd=call.cwd,
            stdin=call.stdin.encode(),
            timeout=call.timeout,
            on_line=lambda line: _report_line(line, report),
            on_output=lambda line: _report_line(line, report),
            on_start=call.on_start,
        )
    done = replace(
        done, stdout=_without_address(done.stdout, call.index_url), stderr=_without_address(done.stderr, call.index_url)
    )
    if done.returncode != 0:
        system_errors.check_words(f"{done.stdout}\n{done.stderr}", call.settings.home, call.needed)
    return done


def _without_address(words: str, index_url: str | None) -> str:
    """What pip said, without the address of our index: it is nobody's affair, and another one the next time."""
    return words if index_url is None else words.replace(index_url.removesuffix("/simple"), "index:")


@contextlib.contextmanager
def _surroundings(index_url: str | None) -> Iterator[dict[str, str]]:
    """The environment of a pip: made from scratch, with a home of its own that is removed afterwards.

    Its cache lies there too: addresses of our index are others each time, so that it would find nothing in one that is
    kept; files are kept on our side of the index.
    """
    with tempfile.TemporaryDirectory(prefix="envbuild-pip-") as name:
        home = Path(name)
        asked = {"PIP_NO_INDEX": "1"} if index_url is None else {"PIP_INDEX_URL": index_url}
        if index_url is not None:
            # Setup scripts of old install what they need by setuptools' easy_install, which has settings of its own.
            (home / ".pydistutils.cfg").write_text(f"[easy_install]\nindex_url = {index_url}\n", encoding="utf-8")
        yield {
            **uv.bare_environ(home),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CACHE_DIR": str(home / "cache"),
            "PIP_TOOLS_CACHE_DIR": str(home / "pip-tools"),
            # Whether and how long upstream is waited for is our own affair, and so is trying again.
            "PIP_DEFAULT_TIMEOUT": "3600",
            "PIP_RETRIES": "0",
            "PYTHONNOUSERSITE": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **asked,
        }


_WORK = re.compile(
    r"^\s*(Collecting|Downloading|Using cached|Building wheel for|Running setup.py bdist_wheel for|"
    r"Building wheels for collected packages:|Installing collected packages:|Successfully built|"
    r"Successfully installed|Preparing metadata|Installing build dependencies) ?(.*)$"
)
_PHASES: Mapping[str, tuple[Phase, bool]] = {
    "Collecting": ("resolving", False),
    "Downloading": ("downloading", False),
    "Using cached": ("downloading", False),
    "Building wheel for": ("building", False),
    "Running setup.py bdist_wheel for": ("building", False),
    "Installing build dependencies": ("building", False),
    "Preparing metadata": ("building", False),
    "Successfully built": ("building", True),
    "Installing collected packages:": ("installing", False),
    "Successfully installed": ("installing", True),
}


def _report_line(line: str, report: Report) -> None:
    """A line of pip's as a step of ours; lines that say no step are left out."""
    found = _WORK.match(line)
    if found is None or found[1] not in _PHASES:
        return
    phase, is_done = _PHASES[found[1]]
    what = found[2]
    if phase in ("resolving", "downloading") or (phase == "building" and not is_done):
        # Addresses of our own index, sizes and dots say nothing to anybody.
        what = re.sub(r"https?://\S*/", "", what).split(" (")[0].split("#")[0]
    report(Step(phase, what.strip(" .:") or found[1].lower(), done=is_done))
