"""A shared library that the system lacks: recognised by what the dynamic linker says, and named with its package."""

from __future__ import annotations

import ctypes
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from flavor import MODELS, question
from kit import cli, cli_environ
from tiny import write_model

import envbuild
from envbuild import system_packages
from envbuild.errors import ModelNotLoaded, ModelRaised, SystemPackageMissing

# Its extension module is imported when it is loaded, or when it predicts, or its complaint is put in other words.
LOADER = """
import ctypes

class Model:
    def predict(self, data):
        if data["input"] == "native":
            import native
        return data["input"]

def _load_pyfunc(path):
    if WHEN == "loading":
        import native
    if WHEN == "in other words":
        try:
            import native
        except ImportError:
            raise RuntimeError("this package was not built for native code") from None
    if WHEN == "complaining":
        raise RuntimeError("libstdc++ was not to its liking")
    return Model()
"""


@pytest.fixture(scope="module")
def lacked() -> tuple[str, str]:
    """A library of the list that this machine does not have, and its package."""
    for library, package in system_packages._OF_LIBRARY.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            return library, package
    pytest.fail("this machine has every library of the list")


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, lacked: tuple[str, str]) -> bytes:
    """A real extension module that is linked against that library."""
    folder = tmp_path_factory.mktemp("native")
    (folder / "empty.c").write_text("int nothing(void) { return 0; }\n")
    (folder / "native.c").write_text("int nothing(void); int something(void) { return nothing(); }\n")
    stub, made = folder / "stub.so", folder / "native.so"
    for words in (
        ["cc", "-shared", "-fPIC", f"-Wl,-soname,{lacked[0]}", "-o", stub, folder / "empty.c"],
        ["cc", "-shared", "-fPIC", "-o", made, folder / "native.c", stub],
    ):
        subprocess.run(list(map(str, words)), check=True)
    return made.read_bytes()


Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path, native: bytes) -> Make:
    def made(when: str) -> Path:
        loader = f"WHEN = {when!r}\n{LOADER}"
        return write_model(tmp_path / "model", loader=loader, files={"code/native.so": native})

    return made


def test_a_load_that_fails_for_it_says_which_package_to_install(
    make: Make, home: Path, lacked: tuple[str, str]
) -> None:
    model = make("loading")
    done = cli("predict", model, "-", "--json", "--offline", environ=cli_environ(home), input='{"input": 1}')
    error = json.loads(done.stdout or done.stderr)["error"]
    assert done.returncode == error["exit_code"] == 7
    assert error["code"] == "system-package-missing"
    assert f"ImportError: {lacked[0]}: cannot open shared object file" in error["message"]
    assert error["hint"] == f"the system has no {lacked[0]}: on Debian and Ubuntu, apt-get install {lacked[1]}"


def test_it_is_recognised_behind_an_exception_that_puts_it_in_other_words(
    make: Make, home: Path, lacked: tuple[str, str]
) -> None:
    with (
        pytest.raises(SystemPackageMissing) as caught,
        envbuild.load_model(make("in other words"), home=home, offline=True),
    ):
        pass
    assert "RuntimeError: this package was not built for native code (from ImportError: " in caught.value.message
    assert lacked[1] in str(caught.value.hint)


def test_a_prediction_that_fails_for_it_says_so_and_the_next_is_answered(
    make: Make, home: Path, lacked: tuple[str, str]
) -> None:
    with envbuild.load_model(make("predicting"), home=home, offline=True) as loaded:
        with pytest.raises(ModelRaised, match="cannot open shared object file") as caught:
            loaded.predict({"input": "native"})
        assert lacked[1] in str(caught.value.hint)
        assert loaded.predict({"input": "plain"}) == "plain"


def test_what_complains_of_something_else_is_the_models_own_failure(make: Make, home: Path) -> None:
    with pytest.raises(ModelNotLoaded) as caught, envbuild.load_model(make("complaining"), home=home, offline=True):
        pass
    assert caught.value.code == "model-not-loaded"
    assert caught.value.hint == "The traceback is on the worker's stderr."


@pytest.mark.parametrize(
    ("words", "named"),
    [
        # OpenCV's, LightGBM's and XGBoost's words, as they are.
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "libgl1"),
        ("OSError: libgomp.so.1: cannot open shared object file: No such file or directory", "libgomp1"),
        ("Error message(s): ['libgomp.so.1: cannot open shared object file: No such file or directory']", "libgomp1"),
        (
            "libnowhere.so.3: cannot open shared object file: No such file or directory",
            "apt-file search libnowhere.so.3",
        ),
        ("libcudart.so.10.2: cannot open shared object file: No such file or directory", "--accelerator cpu"),
        ("/lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by /x/_core.so)", "GLIBCXX_3.4.29"),
        ("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /x/a.so)", "GLIBC_2.38"),
        ("PySparkRuntimeError: [JAVA_GATEWAY_EXITED] Java gateway process exited before", "default-jre-headless"),
        ("java.lang.UnsupportedOperationException: getSubject is not supported", "too new for the model's Spark"),
        ("OSError: sndfile library not found", "libsndfile1"),
    ],
)
def test_the_words_of_libraries_are_known(words: str, named: str) -> None:
    assert named in str(system_packages.lacking(words))


def test_other_words_are_not_taken_for_them() -> None:
    assert system_packages.lacking("FileNotFoundError: model.so: no such file") is None


WITHOUT_LIBGOMP = """
set -e
libraries=$(dirname "$(ldconfig -p | sed -n 's/.*libgomp.so.1 .*=> //p' | head -n 1)")
libraries=$(readlink -f "$libraries")
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=$libraries,upperdir=$1/upper,workdir=$1/work" overlay "$libraries"
rm "$libraries"/libgomp.so.1*
shift
exec "$@"
"""


@pytest.mark.slow
def test_lightgbm_on_a_system_without_libgomp(shared_home: Path, tmp_path: Path, repo_python: list[str]) -> None:
    model = MODELS / "py311_mlflow3_17" / "lgbm"
    environ = cli_environ(shared_home)
    assert cli("build", model, environ=environ).returncode == 0
    words = ["predict", str(model), str(question(model)), "--json"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", WITHOUT_LIBGOMP, "sh", str(tmp_path), *repo_python, *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    error = json.loads(done.stdout or done.stderr)["error"]
    assert (done.returncode, error["code"]) == (7, "system-package-missing"), done.stderr
    assert "apt-get install libgomp1" in error["hint"]
