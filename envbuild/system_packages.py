"""Which system package the failure of a build asks for, by the words of compilers and setup scripts."""

from __future__ import annotations

import re

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
