"""What each conda package is: every name of a real export is known, none is guessed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name
from samples import MODELS, WITH_CONDA, asked_for, codes, spec_of

from envbuild import conda_names
from envbuild.conda_env import read_conda_spec
from envbuild.conda_names import CONDA_TOOLS, FOREIGN, NATIVE, RENAMED, SAME, known
from envbuild.errors import Place, SpecError
from envbuild.spec import EnvironmentSpec

FIXTURES = sorted(MODELS.rglob("conda.yaml"))

# As `conda env export` writes them, on Linux, Windows and macOS.
EXPORTED = """
    _anaconda_depends _ipyw_jlab_nb_ext_conf _libgcc_mutex _openmp_mutex _py-xgboost-mutex _tflow_select abseil-cpp
    alabaster anaconda anaconda-client anaconda-navigator anaconda-project appnope appscript argon2-cffi arrow-cpp
    asn1crypto astropy aws-c-common aws-crt-cpp aws-sdk-cpp azure-core-cpp babel backports
    backports.functools_lru_cache backports.shutil_get_terminal_size beautifulsoup4 binutils_impl_linux-64 bitarray
    bkcharts blas bleach blosc bokeh boost-cpp bottleneck brotli brotli-python brotlipy brunsli bzip2 c-ares
    ca-certificates cached_property charls clyent colorama comtypes conda conda-build conda-content-trust
    conda-package-handling console_shortcut contextlib2 cpuonly cryptography cudatoolkit cuda-nvrtc cudnn curl cycler
    cython cytoolz daal4py dal dask-core dbus diff-match-patch docutils et_xmlfile expat fastcache ffmpeg fontconfig
    fonttools font-ttf-dejavu-sans-mono fonts-conda-forge freetype fribidi gcc_linux-64 get_terminal_size gflags giflib
    glib glob2 gmp gmpy2 gnutls graphite2 graphviz greenlet grpc-cpp gst-plugins-base harfbuzz hdf5 heapdict
    huggingface_hub icc_rt icu imagecodecs importlib_metadata intel-openmp ipython_genutils jdcal jinja2 jpeg
    jupyter_client jupyterlab_pygments jxrlib keras-applications keras-preprocessing keyring kiwisolver krb5 lame lcms2
    ld_impl_linux-64 lerc libaec libarchive libclang libcurl libcxx libgcc-ng libopencv libpng libsodium libtiff libwebp
    lightgbm lightning llvm-openmp llvmlite locket lz4-c lzo m2w64-gcc-libs m2w64-gmp markupsafe matplotlib-base
    matplotlib-inline mccabe menuinst mistune mkl mkl-service mkl_fft mkl_random mpc mpfr mpmath msgpack-python
    msys2-conda-epoch multipledispatch munkres mysql navigator-updater nb_conda_kernels nbconvert ncurses nettle ninja
    nltk nodejs nomkl notebook nspr nss numexpr numpy-base numpydoc olefile openh264 openjpeg openssl orc pandoc
    pandocfilters partd patchelf path.py pathlib2 pcre pexpect pickleshare pillow pixman ply powershell_shortcut
    prompt_toolkit protobuf psutil pthread-stubs ptyprocess py-lief py-opencv py-xgboost pybind11-abi pycosat pyodbc
    pyobjc-core pyqt pyreadline pysocks pytables python-graphviz python-libarchive-c python-snappy python-tzdata
    python-xxhash python.app python_abi pytorch pytorch-cuda pytorch-lightning pytorch-mutex pywavelets pywin32 pywinpty
    pyzmq qt qt-main qtawesome qtconsole qtpy rdma-core re2 readline rope ruamel_yaml scikit-learn seaborn-base
    setuptools-git simplegeneric sip sleef snappy snowballstemmer sortedcontainers spacy sphinxcontrib-websupport spyder
    sqlite statsmodels sysroot_linux-64 tbb tblib tensorflow-base tensorflow-estimator terminado tk toolz torchtriton
    typing typing_extensions tzdata ucrt unixodbc utf8proc vc vc14_runtime vs2015_runtime wcwidth wheel
    widgetsnbextension win_inet_pton win_unicode_console wincertstore winpty wrapt x264 xlwings xorg-libxau xxhash xz
    yaml yapf zeromq zfp zict zipp zlib zope zope.interface zstandard zstd
"""


def conda_spec(folder: Path, *entries: str) -> EnvironmentSpec:
    listed = "".join(f"- {entry}\n" for entry in ("python=3.8.5", *entries))
    return spec_of(folder, WITH_CONDA, {"conda.yaml": f"dependencies:\n{listed}"})


def kind_of(name: str) -> str | None:
    found = known(name)
    return None if found is None else found.index_name or found.kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("numpy", "numpy"),
        ("lightgbm", "lightgbm"),
        ("pytorch", "torch"),
        ("py-xgboost", "xgboost"),
        ("pytables", "tables"),
        ("ruamel_yaml", "ruamel-yaml"),
        ("backports.zoneinfo", "backports-zoneinfo"),
        ("Scikit_Learn", "scikit-learn"),
        ("openssl", "native"),
        ("libsomething-unheard-of", "native"),
        ("_some_mutex", "native"),
        ("gcc_impl_linux-64", "native"),
        ("libgfortran-devel_win-64", "foreign-platform"),
        ("m2w64-gcc-libs", "foreign-platform"),
        ("pywin32", "foreign-platform"),
        ("appnope", "foreign-platform"),
        ("clang_osx-64", "foreign-platform"),
        ("conda", "conda-tool"),
        ("conda-libmamba-solver", "conda-tool"),
        ("libmambapy", "conda-tool"),
        ("spacy-model-en_core_web_sm", None),
        ("some-tool", None),
    ],
)
def test_a_name_is_of_one_kind_or_unknown(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["graphviz", "snappy", "tzdata", "redis", "cmake", "ninja", "flatbuffers", "libclang"])
def test_a_native_package_of_conda_is_not_the_python_package_of_that_name(name: str) -> None:
    assert kind_of(name) == "native"


@pytest.mark.parametrize(
    "name",
    [
        *("azure-core", "awkward-cpp", "cuda-python", "fonttools", "libarchive-c", "libcst", "libpysal", "librosa"),
        *("llvmlite", "mysql-connector-python", "mysqlclient", "pyqt5-sip", "qtconsole", "qtpy", "rapidfuzz", "perlin"),
    ],
)
def test_patterns_swallow_no_python_package(name: str) -> None:
    assert kind_of(name) in (name, None)


def test_no_name_is_of_two_kinds() -> None:
    for one, other in combinations((frozenset(RENAMED), SAME, NATIVE, CONDA_TOOLS, FOREIGN), 2):
        assert not one & other


def test_all_names_are_written_as_an_index_writes_them() -> None:
    for name in (*RENAMED, *RENAMED.values(), *SAME, *NATIVE, *CONDA_TOOLS, *FOREIGN):
        assert canonicalize_name(name) == name
    assert all(name != target for name, target in RENAMED.items())


def test_names_of_another_operating_system_are_no_mere_native_ones() -> None:
    assert not [name for name in NATIVE if name.endswith(conda_names.FOREIGN_SUFFIXES)]


@pytest.mark.parametrize("name", EXPORTED.split())
def test_the_names_of_full_exports_are_known(name: str) -> None:
    assert known(name) is not None


def test_every_conda_name_of_the_real_models_is_known() -> None:
    entries = [entry for path in FIXTURES for entry in yaml.safe_load(path.read_text())["dependencies"]]
    names = {read_conda_spec(entry, Place("conda.yaml")).name for entry in entries if isinstance(entry, str)}
    assert len(names) > 5
    assert [name for name in sorted(names - {"python"}) if known(name) is None] == []


def test_what_is_set_aside_is_said_with_its_reason_and_never_read_for_a_version(tmp_path: Path) -> None:
    spec = conda_spec(tmp_path, "tzdata=2025b", "conda=22.9.0", "vs2015_runtime=14.27.29016_x", "six=1.16.0")
    assert asked_for(spec) == ["six==1.16.0"]
    assert codes(spec.notices) == ["conda-native", "conda-tool", "foreign-platform"]
    assert [notice.message.split()[0] for notice in spec.notices] == ["tzdata", "conda", "vs2015_runtime"]
    assert str(spec.notices[1].place) == f"{tmp_path}/conda.yaml:4"


def test_all_unknown_names_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'some-tool', 'another'") as caught:
        conda_spec(tmp_path, "some-tool=1.0", "numpy", "another")
    assert str(caught.value.place) == f"{tmp_path}/conda.yaml:3"
    assert caught.value.details == (
        f"{tmp_path}/conda.yaml:3: some-tool=1.0",
        f"{tmp_path}/conda.yaml:5: another",
    )


def test_conda_names_a_package_twice_and_it_is_asked_for_once(tmp_path: Path) -> None:
    spec = conda_spec(tmp_path, "matplotlib=3.1.3", "matplotlib-base=3.1.3", "typing-extensions", "typing_extensions")
    assert asked_for(spec) == ["matplotlib==3.1.3", "typing-extensions"]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("opencv=4.5.3=py38_0", "opencv-python-headless==4.5.3.*"),
        ("opencv=4.5", "opencv-python-headless==4.5.*"),
        ("opencv=4.5.3.56", "opencv-python-headless==4.5.3.56"),
        ("opencv", "opencv-python-headless"),
    ],
)
def test_an_index_that_numbers_builds_is_asked_for_any_build(tmp_path: Path, entry: str, text: str) -> None:
    assert asked_for(conda_spec(tmp_path, entry)) == [text]


@pytest.mark.parametrize(
    ("entry", "name", "version"),
    [
        ("python=3.8", "python", "==3.8.*"),
        ("python = 3.8", "python", "==3.8.*"),
        ("python==3.8.5", "python", "==3.8.5"),
        ("python 3.8.*", "python", "==3.8.*"),
        ("python[version='>=3.8']", "python", ">=3.8"),
        ("conda-forge::python=3.8", "python", "==3.8.*"),
        ("conda-forge/linux-64::NumPy==1.0=py38_0", "numpy", "==1.0"),
        ("numpy 1.19.2 py38_0", "numpy", "==1.19.2"),
        ("numpy [version='>=1.0,<2', build=py*]", "numpy", ">=1.0,<2"),
        ('numpy[build="py38*",version="1.2.3"]', "numpy", "==1.2.3"),
        ("numpy=1.2[channel=conda-forge]", "numpy", "==1.2.*"),
        ("numpy=1.19.2  # the last good one", "numpy", "==1.19.2"),
        ("numpy>=1.16,*", "numpy", ">=1.16"),
        ("libblas=*=*mkl", "libblas", ""),
    ],
)
def test_conda_specs_in_every_spelling(entry: str, name: str, version: str) -> None:
    spec = read_conda_spec(entry, Place("conda.yaml", 1))
    assert (spec.name, spec.version) == (name, version)


def test_a_choice_between_versions_is_refused_where_the_version_counts(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="choice between versions"):
        conda_spec(tmp_path, "numpy=1.2|1.3")
    assert asked_for(conda_spec(tmp_path, "openssl=1.0|1.1")) == []


def test_a_version_in_brackets_that_is_not_understood_is_not_dropped(tmp_path: Path) -> None:
    for entry in ("numpy[version>=1.2]", "numpy[version='1.2]"):
        with pytest.raises(SpecError, match="cannot be read"):
            conda_spec(tmp_path, f'"{entry}"')


def test_an_address_is_no_conda_package(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no conda package spec"):
        conda_spec(tmp_path, "https://conda.example/linux-64/numpy-1.19.2-py38_0.tar.bz2")
