"""Which system packages are needed: to build a package, by the words of compilers and setup scripts; to import it, by a list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_BY_WORDS = (
    (r"Python\.h: No such file", "python3-dev (the headers of that Python)"),
    (r"pg_config executable not found|libpq-fe\.h", "libpq-dev"),
    (r"mysql_config|mysql\.h", "default-libmysqlclient-dev"),
    (r"ffi\.h: No such file", "libffi-dev"),
    (r"libxml/\w+\.h|xml2-config|xslt-config", "libxml2-dev and libxslt1-dev"),
    (r"openssl/\w+\.h|Could not find OpenSSL", "libssl-dev"),
    (r"sasl/sasl\.h", "libsasl2-dev"),
    (r"hdf5\.h|libhdf5", "libhdf5-dev"),
    (r"jpeglib\.h|headers or library files could not be found for jpeg", "libjpeg-dev"),
    (r"zlib\.h: No such file|headers or library files could not be found for zlib", "zlib1g-dev"),
    (r"mpi\.h|Cannot compile MPI programs", "libopenmpi-dev"),
    (r"snappy(-c)?\.h: No such file", "libsnappy-dev"),
    (r"curl-config", "libcurl4-openssl-dev"),
    (r"sql\.h: No such file", "unixodbc-dev"),
    (r"no Fortran compiler found|gfortran: (command )?not found|NoFortranCompiler", "gfortran"),
    (r"Could not find (the )?`?cmake|CMake must be installed|cmake: (command )?not found", "cmake"),
    (r"can't find Rust compiler|cargo.*not found|rustc.*not found", "cargo (Rust)"),
    (r"swig: (command )?not found|command 'swig' failed", "swig"),
    (r"llvm-config", "llvm-dev, of the version that llvmlite names"),
    (
        r"(gcc|cc|c\+\+|g\+\+)'? failed: No such file|(gcc|cc): (command )?not found|error: command '\S*gcc' failed: "
        r"No such file|unable to execute '\S*gcc'",
        "build-essential",
    ),
)


def hint(words: str) -> str:
    """What to do about a build that failed with these words (names are Debian's)."""
    needed = [package for pattern, package in _BY_WORDS if re.search(pattern, words)]
    return f"it seems to need the system package {needed[0]}" if needed else "the lines above are the build's last"


def to_build_with(hint: str | None) -> tuple[str, ...]:
    """The Debian packages that a hint of :func:`hint` names, so that the build can be tried again with them."""
    found = re.search(r"system package ([a-z0-9][a-z0-9.+-]+)", hint or "")
    return () if found is None else tuple(dict.fromkeys((found[1], "build-essential")))


# What wheels need of the system and do not bring along, by Debian's names.
_AT_WORK: Mapping[str, tuple[str, ...]] = {
    "lightgbm": ("libgomp1",),
    "xgboost": ("libgomp1",),
    "catboost": ("libgomp1",),
    "opencv-python": ("libgl1", "libglib2.0-0"),
    "opencv-contrib-python": ("libgl1", "libglib2.0-0"),
    "pyspark": ("default-jre-headless",),
    "h2o": ("default-jre-headless",),
    "jpype1": ("default-jre-headless",),
    "graphviz": ("graphviz",),
    "mysqlclient": ("libmariadb3",),
    "psycopg2": ("libpq5",),
    "pyodbc": ("unixodbc",),
    "pytesseract": ("tesseract-ocr",),
    "python-magic": ("libmagic1",),
    "pyzbar": ("libzbar0",),
    "soundfile": ("libsndfile1",),
}


def at_work(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The Debian packages that some packages need when they are imported, each with those that need it."""
    needed: dict[str, tuple[str, ...]] = {}
    for name in sorted(names):
        for package in _AT_WORK.get(name, ()):
            needed[package] = (*needed.get(package, ()), name)
    return needed
