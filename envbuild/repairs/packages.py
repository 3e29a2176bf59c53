"""What is known of single packages, where nothing that an index says would tell it."""

from __future__ import annotations

from collections.abc import Mapping

# They exist for another operating system only; some have an sdist, which fails on this one in its own way.
FOREIGN = frozenset(
    [
        "appscript",
        "pypiwin32",
        "pyobjc",
        "pyobjc-core",
        "pywin32",
        "pywinpty",
        "pywinauto",
        "tensorflow-intel",
        "tensorflow-macos",
        "tensorflow-metal",
        "torch-directml",
        "twisted-iocpsupport",
        "windows-curses",
        "winkerberos",
        "winrt",
    ]
)
# The same library under the name that it has here.
SAME_HERE: Mapping[str, str] = {"tensorflow-intel": "tensorflow", "tensorflow-macos": "tensorflow"}

# What Linux distributions put into their own Python, and a freeze of that Python lists: bindings to the system itself,
# on no index, or there as a source that wants the system's headers.
OF_THE_SYSTEM = frozenset(
    [
        "apturl",
        "blivet",
        "brlapi",
        "checkbox-support",
        "cloud-init",
        "command-not-found",
        "cupshelpers",
        "dbus-python",
        "defer",
        "distro-info",
        "dnf",
        "hplip",
        "language-selector",
        "libcomps",
        "librepo",
        "louis",
        "pcp",
        "pygobject",
        "pycups",
        "python-apt",
        "python-debianbts",
        "python-dnf",
        "reportbug",
        "rpm",
        "screen-resolution-extra",
        "selinux",
        "sepolicy",
        "setools",
        "setroubleshoot",
        "sos",
        "ssh-import-id",
        "subscription-manager",
        "system-service",
        "systemd-python",
        "ubuntu-advantage-tools",
        "ubuntu-drivers-common",
        "ubuntu-pro-client",
        "ufw",
        "unattended-upgrades",
        "usb-creator",
        "xdiagnose",
        "xkit",
    ]
)

# conda's builds of Intel's libraries for numpy, which has the same of its own, and of what only its GUIs use.
CONDA_BUILDS = frozenset(["intel-openmp", "mkl", "mkl-fft", "mkl-random", "mkl-service", "numpy-base", "sip", "tbb"])

# Placeholders on the index for what people meant.
DUMMIES: Mapping[str, str | None] = {"sklearn": "scikit-learn", "pkg-resources": None}
# A release that is none: what `pip freeze` wrote of a package that a system had put there.
NO_RELEASE = "0.0"

# Compiled ones, which should come as wheels wherever one exists: their sdists want compilers, and libraries of their day.
COMPILED = frozenset(
    [
        "aiohttp",
        "bcrypt",
        "blis",
        "blosc",
        "bottleneck",
        "catboost",
        "cffi",
        "contourpy",
        "cryptography",
        "cvxpy",
        "cymem",
        "cytoolz",
        "dm-tree",
        "ecos",
        "faiss-cpu",
        "fastparquet",
        "fiona",
        "frozenlist",
        "gensim",
        "gevent",
        "greenlet",
        "grpcio",
        "h3",
        "h5py",
        "hdbscan",
        "hnswlib",
        "jaxlib",
        "kiwisolver",
        "lightgbm",
        "llvmlite",
        "lxml",
        "lz4",
        "matplotlib",
        "ml-dtypes",
        "msgpack",
        "multidict",
        "murmurhash",
        "netcdf4",
        "numba",
        "numcodecs",
        "numexpr",
        "numpy",
        "onnx",
        "onnxruntime",
        "opencv-python",
        "opencv-python-headless",
        "optree",
        "orjson",
        "osqp",
        "pandas",
        "pillow",
        "pmdarima",
        "polars",
        "preshed",
        "psutil",
        "psycopg2-binary",
        "pyarrow",
        "pycryptodome",
        "pydantic-core",
        "pynacl",
        "pyproj",
        "python-snappy",
        "pywavelets",
        "pyzmq",
        "qdldl",
        "rasterio",
        "regex",
        "rpds-py",
        "ruamel-yaml-clib",
        "safetensors",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "scs",
        "sentencepiece",
        "shap",
        "shapely",
        "spacy",
        "srsly",
        "statsmodels",
        "tables",
        "thinc",
        "tiktoken",
        "tokenizers",
        "ujson",
        "xgboost",
        "yarl",
        "zstandard",
    ]
)

# Of them, those whose sdists want more than a C compiler: Fortran, Rust, LLVM, a large C++ library, or an hour. Where a pin
# of theirs has no wheel, another Python that has one is the better answer.
HARD_TO_BUILD = frozenset(
    [
        "blis",
        "catboost",
        "cvxpy",
        "dm-tree",
        "faiss-cpu",
        "fastparquet",
        "fiona",
        "gensim",
        "grpcio",
        "h5py",
        "hdbscan",
        "hnswlib",
        "jaxlib",
        "lightgbm",
        "llvmlite",
        "matplotlib",
        "netcdf4",
        "numba",
        "numpy",
        "onnx",
        "onnxruntime",
        "opencv-python",
        "opencv-python-headless",
        "pandas",
        "pmdarima",
        "polars",
        "pyarrow",
        "pyproj",
        "python-snappy",
        "rasterio",
        "safetensors",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "sentencepiece",
        "shapely",
        "spacy",
        "statsmodels",
        "tables",
        "thinc",
        "tiktoken",
        "tokenizers",
        "xgboost",
    ]
)

# Wheels whose own metadata no tool of today reads (`pytz (>=2011k)` is no PEP 440 version), as it was meant.
_PANDAS = (
    ("numpy>=1.7.0", "python-dateutil>=2", ("0.20.0", "0.20.1", "0.20.2", "0.20.3")),
    ("numpy>=1.9.0", "python-dateutil>=2", ("0.21.0", "0.21.1", "0.22.0")),
    ("numpy>=1.9.0", "python-dateutil>=2.5.0", ("0.23.0", "0.23.1", "0.23.2", "0.23.3", "0.23.4")),
    ("numpy>=1.12.0", "python-dateutil>=2.5.0", ("0.24.0", "0.24.1", "0.24.2")),
)
BROKEN_METADATA: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("pandas", version): (numpy, dateutil, "pytz>=2011")
    for numpy, dateutil, versions in _PANDAS
    for version in versions
}

# What an sdist's failure says, and what it lacked: another build tool of its own day.
BUILD_CURES: tuple[tuple[str, str], ...] = (
    (r"use_2to3 is invalid|cannot import name 'build_py_2to3'", "setuptools<58"),
    (r"cannot import name 'Feature' from 'setuptools'", "setuptools<46"),
    (r"'build_ext' object has no attribute 'cython_sources'|Cython\.Compiler\.Errors\.CompileError", "cython<3"),
    (r"No module named '(?:pkg_resources|distutils\.msvccompiler)'", "setuptools<60"),
    (r"install_layout|has no attribute 'SafeConfigParser'", "setuptools<65"),
)
# A module's package, where the two differ.
PACKAGE_OF_MODULE: Mapping[str, str] = {
    "Cython": "cython",
    "pkg_resources": "setuptools<81",
    "setuptools_scm": "setuptools-scm",
    "skbuild": "scikit-build",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
