"""Which pip-tools works with which pip, and what it needs beside it."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

from envbuild.errors import LockError
from envbuild.interpreters import Interpreter

# What pip-tools needs beside pip, in versions that work with it; installed as they stand here, so that neither dates
# nor the resolver of a pip that is just being equipped have a part in it.
_CLICK_7 = ("click==7.1.2", "six==1.16.0")
_PEP517 = (
    "click==7.1.2",
    "pep517==0.12.0",
    'tomli==1.2.3; python_version < "3.11"',
    'importlib-metadata==4.8.3; python_version < "3.8"',
    'zipp==3.6.0; python_version < "3.8"',
    'typing-extensions==4.1.1; python_version < "3.8"',
)
_BUILD = (
    "click==8.1.8",
    "build==0.10.0",
    "packaging==23.2",
    "pyproject-hooks==1.0.0",
    'tomli==2.0.1; python_version < "3.11"',
    'importlib-metadata==6.7.0; python_version < "3.8"',
    'zipp==3.15.0; python_version < "3.8"',
    'typing-extensions==4.7.1; python_version < "3.8"',
)
_BUILD_1 = (
    "click==8.1.8",
    "build==1.2.2.post1",
    "packaging==24.2",
    "pyproject-hooks==1.2.0",
    'tomli==2.2.1; python_version < "3.11"',
    'importlib-metadata==8.5.0; python_full_version < "3.10.2"',
    'zipp==3.20.2; python_full_version < "3.10.2"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipTools:
    """A release of pip-tools, and the pips and Pythons that it works with."""

    pips: str
    release: str
    needs: tuple[str, ...]
    pythons: str = ">=3.6"


# pip-tools calls pip's inner functions, so each of its releases works with some pips alone: the next pip of each row
# ends in an ImportError or an AttributeError. Each bound was tried (tests/integration/test_pip_tools.py).
_PIP_TOOLS = (
    PipTools(pips=">=8.1.2,<20.1", release="4.5.1", needs=_CLICK_7),
    PipTools(pips=">=20.1,<21.1", release="5.5.0", needs=_CLICK_7),
    # The first that leaves resolving to pip, where both can.
    PipTools(pips=">=21.2,<22.2", release="6.8.0", needs=_BUILD, pythons=">=3.7"),
    PipTools(pips=">=21.1,<22", release="6.4.0", needs=_PEP517),
    PipTools(pips=">=22.2,<25.1", release="7.4.1", needs=_BUILD_1, pythons=">=3.8"),
    # The last for Python 3.7; the pips after these, up to the last one for that Python (24.0), have none.
    PipTools(pips=">=22.2,<23.2", release="6.14.0", needs=_BUILD, pythons="==3.7.*"),
    PipTools(pips=">=25.1,<26", release="7.5.2", needs=_BUILD_1, pythons=">=3.8"),
    PipTools(
        pips=">=26",
        release="7.6.2",
        needs=(*_BUILD_1, 'typing-extensions==4.12.2; python_version < "3.11"'),
        pythons=">=3.9",
    ),
)


def pip_tools_for(pip: str, interpreter: Interpreter) -> PipTools:
    """The pip-tools that fits.

    :raises LockError: none does.
    """
    for row in _PIP_TOOLS:
        if SpecifierSet(row.pips).contains(pip, prereleases=True) and interpreter.version in SpecifierSet(row.pythons):
            return row
    raise LockError(
        f"no pip-tools works with pip {pip} under Python {interpreter.version}",
        hint="--set pip==VERSION with a pip of 8.1.2 or later that is for that Python, or --engine uv",
    )
