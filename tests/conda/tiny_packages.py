"""Packages of a few lines, each with one habit of real ones."""

from __future__ import annotations

import json

from channel import PLACEHOLDER, Content, Package, script, text

# Sets and unsets variables when its environment is activated, as compilers and Java do.
ACTIVATED = Package(
    name="activated",
    files={
        "etc/conda/activate.d/activated.sh": text(
            'export ACTIVATED_BEFORE="${ACTIVATED_HOME:-}"\n'
            'export ACTIVATED_HOME="$CONDA_PREFIX/share/activated"\n'
            "unset ACTIVATED_STRAY\n"
        ),
        "etc/conda/deactivate.d/activated.sh": text(
            'export ACTIVATED_HOME="$ACTIVATED_BEFORE"\nunset ACTIVATED_BEFORE\n'
        ),
        "share/activated/data.txt": text("its data\n"),
    },
)
# Has variables without a script.
VARIABLES = Package(
    name="variables",
    files={"etc/conda/env_vars.d/variables.json": text(json.dumps({"VARIABLES_LEVEL": "3", "VARIABLES_EMPTY": ""}))},
)
# Would run a script of its own when it is installed, and another one when it is removed.
LINKED = Package(
    name="linked",
    files={
        "bin/.linked-post-link.sh": script('#!/bin/sh\ntouch "$PREFIX/post-link-was-run"\n'),
        "bin/.linked-pre-unlink.sh": script('#!/bin/sh\ntouch "$PREFIX/pre-unlink-was-run"\n'),
        "share/linked.txt": text("linked\n"),
    },
)
# Knows where it lies: in a script, in a text, in a binary, by a link.
PLACED = Package(
    name="placed",
    files={
        "bin/placed": script(f'#!/bin/sh\ncat "{PLACEHOLDER}/share/placed.txt"\n'),
        "share/placed.txt": text(f"prefix={PLACEHOLDER}\nlib={PLACEHOLDER}/lib\n"),
        "lib/placed.bin": Content(
            data=b"\x7fELF\0\1before\0" + PLACEHOLDER.encode() + b"/lib\0after\0" + bytes(range(256)), marked="binary"
        ),
        "lib/placed-link": Content(target="placed.bin"),
    },
)
# The newest build is for a C library that is not there yet.
GLIBC_BUILDS = (
    Package(name="glibc-bound", build="old_0", number=0, depends=("__glibc >=2.17,<3.0.a0",)),
    Package(name="glibc-bound", build="new_1", number=1, depends=("__glibc >=9",)),
)
GLIBC_ONLY = Package(name="glibc-only", depends=("__glibc >=9",))
CUDA_BUILDS = (
    Package(name="with-cuda", version="11.8", build="cuda_1", number=1, depends=("__cuda >=11",)),
    Package(name="with-cuda", version="11.8", build="cpu_0", number=0),
)
# One release a year; the last one is of a time that no test's model knows.
DATED = (
    Package(name="dated", version="1.0", made="2019-03-01"),
    Package(name="dated", version="2.0", made="2021-03-01"),
    Package(name="dated", version="3.0", made="2025-03-01"),
)
# conda-build did not write when, then.
UNDATED = Package(name="undated", made=None)
# A version of it keeps another package's newer versions away without needing it.
CONSTRAINING = Package(name="constraining", constrains=("dated <2",))
OTHERS = (ACTIVATED, VARIABLES, LINKED, PLACED, *GLIBC_BUILDS, GLIBC_ONLY, *CUDA_BUILDS, *DATED, UNDATED, CONSTRAINING)
# On both channels, in another version on each.
SHARED_OF_FORGE = Package(name="shared", version="1.0", build="forge_0")
SHARED_OF_MAIN = Package(name="shared", version="2.0", build="main_0")
