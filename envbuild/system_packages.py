"""Which system packages are needed: to build a package, by the words of compilers and setup scripts; to import it, by a
list; and which one an import lacked, by the words of the dynamic linker and of libraries. Names are Debian's.
"""

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


# The package of each shared library that wheels are linked against and do not bring along.
_OF_LIBRARY: Mapping[str, str] = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLESv2.so.2": "libgles2",
    "libICE.so.6": "libice6",
    "libOpenCL.so.1": "ocl-icd-libopencl1",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXi.so.6": "libxi6",
    "libXrender.so.1": "libxrender1",
    "libXt.so.6": "libxt6",
    "libXtst.so.6": "libxtst6",
    "libaio.so.1": "libaio1",
    "libasound.so.2": "libasound2",
    "libatomic.so.1": "libatomic1",
    "libblas.so.3": "libblas3",
    "libcairo.so.2": "libcairo2",
    "libcrypt.so.1": "libcrypt1",
    "libcurl.so.4": "libcurl4",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgfortran.so.5": "libgfortran5",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "liblapack.so.3": "liblapack3",
    "libmagic.so.1": "libmagic1",
    "libmariadb.so.3": "libmariadb3",
    "libmpi.so.40": "libopenmpi3",
    "libnss3.so": "libnss3",
    "libnuma.so.1": "libnuma1",
    "libodbc.so.2": "libodbc2",
    "libopenblas.so.0": "libopenblas0",
    "libpq.so.5": "libpq5",
    "libquadmath.so.0": "libquadmath0",
    "libsasl2.so.2": "libsasl2-2",
    "libsnappy.so.1": "libsnappy1v5",
    "libsndfile.so.1": "libsndfile1",
    "libsqlite3.so.0": "libsqlite3-0",
    "libstdc++.so.6": "libstdc++6",
    "libsybdb.so.5": "libsybdb5",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libxcb.so.1": "libxcb1",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
    "libzbar.so.0": "libzbar0",
}
# The dynamic linker's words (glibc), first for a library that is not there, then for one that is too old.
_NOT_OPENED = re.compile(r"([\w.+-]+\.so(?:\.[\w.]+)?): cannot open shared object file")
_TOO_OLD = re.compile(r"([\w.+-]+\.so[\w.]*): version [`'](\w+_[\d.]+)' not found")
# Of NVIDIA's driver, or of CUDA: no package of the system brings the one without the GPU.
_OF_GPU = re.compile(
    r"lib(cuda|cudart|cublas|cudnn|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvidia|nvToolsExt|hip|roc)"
)
# Of Spark and Hadoop's client on a Java that came after them.
_NEW_JAVA = re.compile(
    r"getSubject is (not )?supported|Unsupported class file major version|cannot access class sun\.nio\.ch\.DirectBuffer"
)
# What libraries say themselves, where they look for something and do not find it.
_BY_COMPLAINT = (
    (
        r"Java gateway process exited|JAVA_GATEWAY_EXITED|Cannot find java|No such file or directory: 'java'",
        "a Java",
        "default-jre-headless",
    ),
    (r"sndfile library not found", "libsndfile", "libsndfile1"),
    (r"failed to find libmagic", "libmagic", "libmagic1"),
    (r"Unable to find zbar shared library", "libzbar", "libzbar0"),
    (r"PortAudio library not found", "PortAudio", "libportaudio2"),
    (r"tesseract is not installed", "tesseract", "tesseract-ocr"),
    (
        r"failed to execute \W*(PosixPath\()?\W*dot\b|GraphViz's executables not found",
        "Graphviz's programs",
        "graphviz",
    ),
    (r"Is poppler installed", "poppler's programs", "poppler-utils"),
    (r"Could not find lib geos_c|Could not find library geos_c", "libgeos_c", "libgeos-c1v5"),
    (r"no library called \W*(lib)?cairo", "libcairo", "libcairo2"),
)


def lacking(words: str) -> str | None:
    """What to do about an import or a load that failed with these words; ``None``: they complain of nothing like it."""
    if match := _NOT_OPENED.search(words):
        return _hint_of_library(match[1])
    if match := _TOO_OLD.search(words):
        return (
            f"the {match[1]} in use is too old: it has no {match[2]}; a newer system, or a package built for an older one "
            "(--override), is needed"
        )
    if _NEW_JAVA.search(words):
        return "the Java in use is too new for the model's Spark: JAVA_HOME names another (docs/flavors.md says which fits)"
    for pattern, what, package in _BY_COMPLAINT:
        if re.search(pattern, words):
            return f"{what} is not here, or does not run: on Debian and Ubuntu, apt-get install {package}"
    return None


def _hint_of_library(library: str) -> str:
    if package := _OF_LIBRARY.get(library):
        return f"the system has no {library}: on Debian and Ubuntu, apt-get install {package}"
    if _OF_GPU.match(library):
        return (
            f"{library} belongs to a GPU's driver or to its libraries; --accelerator cpu takes builds that do without"
        )
    return f"neither the environment nor the system has {library}: on Debian and Ubuntu, apt-file search {library} names its package"
