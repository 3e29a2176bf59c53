"""pip's lines, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import PLAIN, asked_for, codes, line_of, spec_of, write

from envbuild.errors import EnvbuildError, SpecError
from envbuild.requirement import Demand


def demand_of(folder: Path, line: str) -> Demand:
    (demand,) = line_of(folder, line).demands
    return demand


@pytest.mark.parametrize(
    ("line", "text", "name", "pin"),
    [
        ("numpy", "numpy", "numpy", None),
        ("numpy==1.19.5", "numpy==1.19.5", "numpy", "1.19.5"),
        ("numpy == 1.19.5", "numpy==1.19.5", "numpy", "1.19.5"),
        ("numpy===1.19.5", "numpy===1.19.5", "numpy", "1.19.5"),
        ("distro-info===1.1build1", "distro-info===1.1build1", "distro-info", "1.1build1"),
        ("numpy==1.19.*", "numpy==1.19.*", "numpy", None),
        ("mlflow>=2.1,<3", "mlflow<3,>=2.1", "mlflow", None),
        ("torch==1.9.0+cu102", "torch==1.9.0+cu102", "torch", "1.9.0+cu102"),
        ("Scikit_Learn~=1.0", "Scikit_Learn~=1.0", "scikit-learn", None),
        ("mlflow[extras,gateway]==2.1", "mlflow[extras,gateway]==2.1", "mlflow", "2.1"),
        ("six; python_version < '3'", 'six; python_version < "3"', "six", None),
        ("six==1.16.0 --hash=sha256:aa --hash=sha256:bb", "six==1.16.0", "six", "1.16.0"),
        ('six==1.16.0 --global-option="x"', "six==1.16.0", "six", "1.16.0"),
    ],
)
def test_a_requirement_of_the_index(tmp_path: Path, line: str, text: str, name: str, pin: str | None) -> None:
    demand = demand_of(tmp_path, line)
    assert (demand.text, demand.kind, demand.name, demand.pin) == (text, "index", name, pin)
    assert str(demand.place) == f"{tmp_path}/requirements.txt:7"


@pytest.mark.parametrize(
    ("line", "text", "kind", "name"),
    [
        ("git+https://h.invalid/r.git@abc#egg=own", "own @ git+https://h.invalid/r.git@abc", "vcs", "own"),
        ("own @ git+https://h.invalid/r.git@abc", "own @ git+https://h.invalid/r.git@abc", "vcs", "own"),
        ("git+https://h.invalid/r.git@abc", "git+https://h.invalid/r.git@abc", "vcs", None),
        ("-e git+https://h.invalid/r.git@abc#egg=own", "own @ git+https://h.invalid/r.git@abc", "vcs", "own"),
        (
            "git+ssh://git@h.invalid/r.git#egg=own&subdirectory=python",
            "own @ git+ssh://git@h.invalid/r.git#subdirectory=python",
            "vcs",
            "own",
        ),
        (
            "git+https://h.invalid/r.git#egg=own ; python_version < '3.9'",
            "own @ git+https://h.invalid/r.git ; python_version < '3.9'",
            "vcs",
            "own",
        ),
        (
            "https://h.invalid/d/own_it-1.0-py3-none-any.whl",
            "own-it @ https://h.invalid/d/own_it-1.0-py3-none-any.whl",
            "url",
            "own-it",
        ),
        ("own[x]@https://h.invalid/own-1.0.tar.gz", "own[x] @ https://h.invalid/own-1.0.tar.gz", "url", "own"),
        ("https://h.invalid/own-1.0.tar.gz", "own @ https://h.invalid/own-1.0.tar.gz", "url", "own"),
    ],
)
def test_a_requirement_by_address(tmp_path: Path, line: str, text: str, kind: str, name: str) -> None:
    demand = demand_of(tmp_path, line)
    assert (demand.text, demand.kind, demand.name) == (text, kind, name)
    assert (demand.requirement is None) == (demand.name is None)


@pytest.mark.parametrize(
    ("line", "path", "kind"),
    [
        ("./wheels/own-1.0-py3-none-any.whl", "wheels/own-1.0-py3-none-any.whl", "file"),
        ("wheels/own-1.0-py3-none-any.whl", "wheels/own-1.0-py3-none-any.whl", "file"),
        ("file:wheels/own-1.0-py3-none-any.whl", "wheels/own-1.0-py3-none-any.whl", "file"),
        ("file:./wheels/own-1.0-py3-none-any.whl", "wheels/own-1.0-py3-none-any.whl", "file"),
        ("own @ file:wheels/own-1.0-py3-none-any.whl", "wheels/own-1.0-py3-none-any.whl", "file"),
        ("./package", "package", "directory"),
        ("-e ./package", "package", "directory"),
        ("--editable=package/", "package", "directory"),
        ("-e package/../package", "package", "directory"),
        (".", ".", "directory"),
    ],
)
def test_what_lies_inside_the_model_is_named_by_its_path_there(tmp_path: Path, line: str, path: str, kind: str) -> None:
    write(tmp_path, PLAIN, {"wheels/own-1.0-py3-none-any.whl": "", "package/setup.py": ""})
    demand = demand_of(tmp_path, line)
    assert (demand.path, demand.kind, demand.requirement) == (path, kind, None)
    assert demand.name == ("own" if kind == "file" else None)


def test_a_file_address_with_the_models_own_absolute_path_is_the_models(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, {"own-1.0-py3-none-any.whl": ""})
    assert demand_of(tmp_path, f"file://{tmp_path}/own-1.0-py3-none-any.whl").path == "own-1.0-py3-none-any.whl"


def test_what_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no wheels/own"):
        line_of(tmp_path, "./wheels/own-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("certifi @ file:///croot/certifi_1665076670883/source/certifi", "certifi"),
        ("numpy @ file:///tmp/build/80754af9/numpy-1.21.5", "numpy"),
        ("mlflow[extras] @ file:///x/mlflow ; python_version < '3.9'", 'mlflow[extras]; python_version < "3.9"'),
        ("file:///elsewhere/six-1.16.0-py2.py3-none-any.whl", "six"),
        ("-e file:///elsewhere/six-1.16.0.tar.gz", "six"),
    ],
)
def test_of_a_path_of_another_machine_the_name_counts_with_a_notice(tmp_path: Path, line: str, text: str) -> None:
    lines = line_of(tmp_path, line)
    assert [(demand.text, demand.kind) for demand in lines.demands] == [(text, "index")]
    assert codes(lines.notices) == ["path-ignored"]
    assert lines.notices[0].place is not None
    assert lines.notices[0].place.line == 7


@pytest.mark.parametrize(
    ("line", "option", "url"),
    [
        ("-i https://i.invalid/simple", "index-url", "https://i.invalid/simple"),
        ("--index-url=https://i.invalid/simple?a=b", "index-url", "https://i.invalid/simple?a=b"),
        ("--extra-index-url https://i.invalid/simple", "extra-index-url", "https://i.invalid/simple"),
        ("-f https://i.invalid/files.html", "find-links", "https://i.invalid/files.html"),
        ("-fhttps://i.invalid/files.html", "find-links", "https://i.invalid/files.html"),
        ("--find-links 'https://i.invalid/a b'", "find-links", "https://i.invalid/a b"),
    ],
)
def test_index_lines_are_requests_and_no_demands(tmp_path: Path, line: str, option: str, url: str) -> None:
    lines = line_of(tmp_path, line)
    assert [(found.option, found.url, found.place.line) for found in lines.index_lines] == [(option, url, 7)]
    assert lines.demands == ()


@pytest.mark.parametrize(
    "line", ["--trusted-host evil.invalid", "--pre", "--no-binary :all:", "--require-hashes", "--no-index", "-U"]
)
def test_options_that_would_change_how_packages_are_fetched_have_no_effect_and_that_is_said(
    tmp_path: Path, line: str
) -> None:
    lines = line_of(tmp_path, line)
    assert (lines.demands, lines.index_lines) == ((), ())
    assert codes(lines.notices) == ["option-ignored"]
    assert line.split(maxsplit=1)[0] in lines.notices[0].message


@pytest.mark.parametrize(
    "line",
    [
        "numpy==",
        "numpy 1.2",
        "==1.0",
        "numpy; rm -rf /",
        "$(touch owned)",
        "numpy; python_version",
        "--python /bin/sh",
        "--config-settings x",
        "-x",
        "-",
        "-e",
        "-e 'open",
        "hg+https://h.invalid/r",
        "ftp://h.invalid/x.whl",
        "own @ nowhere",
        "file:///elsewhere/what",
        "..x @ file:///y",
        "https://[h/own-1.0.tar.gz",
        "own @ file://[x",
        "numpy\n--index-url https://evil.invalid",
        "numpy\0",
        "numpy==" + "1" * 5000,
        "./" + "x" * 5000,
    ],
)
def test_what_is_no_requirement_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        line_of(tmp_path, line)
    assert caught.value.code == "spec-invalid"
    assert str(caught.value.place) == f"{tmp_path}/requirements.txt:7"
    assert list(tmp_path.iterdir()) == []


def test_variables_are_expanded_only_where_the_deployer_lists_them(tmp_path: Path) -> None:
    line = "--extra-index-url https://${USER_NAME}:${TOKEN}@i.invalid/simple"
    lines = line_of(tmp_path, line, expand={"TOKEN": "t0ken"})
    assert lines.index_lines[0].url == "https://${USER_NAME}:t0ken@i.invalid/simple"
    assert codes(lines.notices) == ["variable-not-expanded"]
    assert "USER_NAME" in lines.notices[0].message


def test_an_environment_variable_that_is_set_but_not_listed_stays_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "canary")
    spec = spec_of(tmp_path, PLAIN, {"requirements.txt": "-i https://${SECRET}@i.invalid/simple\n"})
    assert spec.index_lines[0].url == "https://${SECRET}@i.invalid/simple"


def texts(folder: Path, content: str | bytes) -> list[tuple[str, int | None]]:
    spec = spec_of(folder, PLAIN, {"requirements.txt": content})
    return [(demand.text, demand.place.line) for demand in spec.demands if demand.place is not None]


def test_comments_empty_lines_and_continuations(tmp_path: Path) -> None:
    content = "# head\n\nsix  # why\nnumpy \\\n  ==1.19.5 \\\n  --hash=sha256:aa\nown#not-a-comment\n"
    with pytest.raises(SpecError, match="own#not-a-comment"):
        texts(tmp_path / "a", content)
    assert texts(tmp_path / "b", content.replace("own#not-a-comment\n", "pytz")) == [
        ("six", 3),
        ("numpy==1.19.5", 4),
        ("pytz", 7),
    ]


def test_a_backslash_at_the_end_of_a_comment_continues_nothing(tmp_path: Path) -> None:
    assert texts(tmp_path / "a", "# C:\\temp\\\nsix\n") == [("six", 2)]
    assert texts(tmp_path / "b", "pytz # see \\\nsix\n") == [("pytz", 1), ("six", 2)]


def test_a_backslash_at_the_end_of_the_file_drops_nothing(tmp_path: Path) -> None:
    assert texts(tmp_path / "a", "six\nnumpy==1.19.5 \\") == [("six", 1), ("numpy==1.19.5", 2)]
    assert texts(tmp_path / "b", "six \\\n") == [("six", 1)]


def test_windows_line_ends_a_byte_order_mark_and_no_last_line_end(tmp_path: Path) -> None:
    assert texts(tmp_path, b"\xef\xbb\xbfsix\r\n\r\nnumpy \\\r\n==1.19.5") == [("six", 1), ("numpy==1.19.5", 3)]


def test_includes_are_read_from_their_own_directory_and_constraints_constrain(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "-r sub/more.txt\n-c limits.txt\n",
        "sub/more.txt": "six\n-r ../last.txt\n",
        "last.txt": "pytz\n",
        "limits.txt": "numpy<2\n",
    }
    spec = spec_of(tmp_path, PLAIN, files)
    assert asked_for(spec) == ["six", "pytz"]
    assert [(c.text, str(c.place)) for c in spec.constraints] == [("numpy<2", f"{tmp_path}/limits.txt:1")]


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="without end"):
        spec_of(tmp_path, PLAIN, {"requirements.txt": "-r b.txt\n", "b.txt": "-r requirements.txt\n"})


@pytest.mark.parametrize("content", [b"PK\x03\x04\x00\x00", b"\xff\xfes\x00i\x00x\x00"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EnvbuildError) as caught:
        texts(tmp_path, content)
    assert caught.value.code in ("spec-invalid", "model-unreadable")
