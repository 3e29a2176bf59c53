"""Override files and the files of curated environments: what they hold, what is refused and where, and their schema."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kit import REPO

from envbuild import document
from envbuild.document import Node
from envbuild.errors import OverrideInvalid, Place
from envbuild.override.file import (
    ENVIRONMENT_KEYS,
    OVERRIDE_KEYS,
    OverrideFile,
    parse_environment,
    read,
    read_environment,
)

SCHEMA = json.loads((REPO / "docs" / "override.schema.json").read_text(encoding="utf-8"))
EXAMPLES = REPO / "examples"
CANARY = "canary-5b1f"
CURATED = "name: lts\nversion: '1'\npython: '3.10'\nrequirements: []\n"
URL = "https://environments.example/lts/1.yaml"


def validator(form: str | None = None) -> jsonschema.Draft202012Validator:
    """Of one form alone, as the reader has it; of both, as an editor has it."""
    schema = SCHEMA if form is None else {"$ref": f"#/$defs/{form}", "$defs": SCHEMA["$defs"]}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker(["date"]))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "override.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def overrides(folder: Path, text: str) -> OverrideFile:
    return read(written(folder, text))


def refused(folder: Path, text: str | bytes, line: int | None, *words: str, curated: bool = False) -> OverrideInvalid:
    path = written(folder, text)
    with pytest.raises(OverrideInvalid) as caught:
        (read_environment if curated else read)(path)
    error = caught.value
    assert (error.code, error.exit_code) == ("override-invalid", 2)
    assert error.place == Place(str(path), line), error
    assert CANARY not in f"{error} {error.hint} {error.details}"
    for word in words:
        assert word in f"{error.message}\n{error.hint}"
    return error


# What they hold

EVERYTHING = """\
description: |
  Two lines
  of prose.
set:
  - pandas==1.5.3
add: [boto3, "own @ https://files.example/own.whl"]
remove: [mkl]
constraint: [urllib3>=1.26]
requirements: lists/requirements.txt
conda_env:
  dependencies: [python=3.8, {pip: [mlflow]}]
environment: sklearn:2024.1
python: 3.10
python_policy: exact
only_binary: [":all:"]
no_binary: [psycopg2]
no_build: yes
as_of: 2021-04-30
index_url: https://index.example/simple
extra_index_url: [https://more.example/simple]
find_links: [wheels, https://files.example/wheels/]
model_indexes: deny
lock: pylock.toml
accelerator: cu118
conda_packages: map
repair: none
allow_repair: [double-pin]
deny_repair: [dead-index]
"""


@pytest.fixture
def everything(tmp_path: Path) -> OverrideFile:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "requirements.txt").write_text("mlflow\n")
    (tmp_path / "pylock.toml").write_text("")
    return overrides(tmp_path, EVERYTHING)


def test_the_file_above_has_every_key_that_there_is(everything: OverrideFile) -> None:
    assert set(everything.places) == set(OVERRIDE_KEYS)


def test_settings_are_given_as_settings_take_them(everything: OverrideFile, tmp_path: Path) -> None:
    assert everything.given == {
        "environment": "sklearn:2024.1",
        "python": "3.10",
        "python_policy": "exact",
        "only_binary": (":all:",),
        "no_binary": ("psycopg2",),
        "no_build": True,
        "as_of": "2021-04-30",
        "index_url": "https://index.example/simple",
        "extra_index_url": ("https://more.example/simple",),
        "find_links": (str(tmp_path / "wheels"), "https://files.example/wheels/"),
        "model_indexes": "deny",
        "lock": tmp_path / "pylock.toml",
        "accelerator": "cu118",
        "conda_packages": "map",
        "repair": "none",
        "allow_repair": ("double-pin",),
        "deny_repair": ("dead-index",),
    }


def test_changes_have_their_own_lines_and_keys_theirs(everything: OverrideFile) -> None:
    assert [(change.option, change.text, change.place and change.place.line) for change in everything.changes] == [
        ("set", "pandas==1.5.3", 5),
        ("add", "boto3", 6),
        ("add", "own @ https://files.example/own.whl", 6),
        ("remove", "mkl", 7),
    ]
    assert everything.places["set"] == Place(everything.source, 4)
    assert everything.places["conda_env"].line == 10


def test_lists_and_mappings_are_handed_on_as_nodes_and_paths_as_paths(everything: OverrideFile, tmp_path: Path) -> None:
    assert isinstance(everything.constraint, Node)
    assert everything.constraint.plain() == ["urllib3>=1.26"]
    assert everything.requirements == tmp_path / "lists" / "requirements.txt"
    assert isinstance(everything.conda_env, Node)
    assert everything.conda_env.plain() == {"dependencies": ["python=3.8", {"pip": ["mlflow"]}]}


def test_the_rest_says_what_file_it_was(everything: OverrideFile, tmp_path: Path) -> None:
    assert everything.source == str(tmp_path / "override.yaml")
    assert everything.description == "Two lines\nof prose."
    assert (everything.name, everything.version) == (None, None)
    assert everything.digest == hashlib.sha256(EVERYTHING.encode()).hexdigest()


def test_only_what_is_written_is_given(tmp_path: Path) -> None:
    found = overrides(tmp_path, "python: '3.9'\n")
    assert found.given == {"python": "3.9"}
    assert (found.changes, found.constraint, found.requirements, found.conda_env) == ((), None, None, None)


def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfset:\r\n- pandas==1.5.3\r\n")
    assert [change.text for change in read(path).changes] == ["pandas==1.5.3"]
    assert read(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("wanted", ["envs/own.yaml", "own.yaml", "./own"])
def test_the_path_of_an_environment_is_relative_to_the_file(tmp_path: Path, wanted: str) -> None:
    assert overrides(tmp_path, f"environment: {wanted}\n").given == {"environment": str(tmp_path / wanted)}


def test_the_path_of_a_python_is_relative_to_the_file_and_may_be_absolute(tmp_path: Path) -> None:
    assert overrides(tmp_path, "python: venv/bin/python\n").given["python"] == str(tmp_path / "venv/bin/python")
    assert overrides(tmp_path, "python: /opt/python/bin/python\n").given["python"] == "/opt/python/bin/python"


def test_a_curated_environment_has_a_name_a_version_and_a_day(tmp_path: Path) -> None:
    text = "name: sklearn-lts\nversion: 2024.10\ncreated: 2024-10-31\npython: 3.10\nrequirements: [scikit-learn]\n"
    found = read_environment(written(tmp_path, text))
    assert (found.name, found.version) == ("sklearn-lts", "2024.10")
    assert found.given == {"python": "3.10", "as_of": "2024-10-31"}
    assert found.places["as_of"] == found.places["created"] == Place(found.source, 3)


def test_as_of_of_a_curated_environment_wins_over_the_day_it_was_made(tmp_path: Path) -> None:
    found = read_environment(written(tmp_path, CURATED + "created: 2024-10-31\nas_of: 2024-11-30\n"))
    assert found.given["as_of"] == "2024-11-30"
    assert found.places["as_of"].line == 6


def test_a_conda_env_may_name_the_python_of_a_curated_environment(tmp_path: Path) -> None:
    text = "name: lts\nversion: a\nconda_env: {dependencies: [python=3.8]}\n"
    assert read_environment(written(tmp_path, text)).given == {}


def test_a_fetched_environment_says_its_address_without_credentials() -> None:
    found = parse_environment(CURATED.encode(), URL.replace("//", f"//user:{CANARY}@"))
    assert (found.source, found.places["name"]) == (URL, Place(URL, 1))


# What is refused

BAD: list[tuple[str, str, int | None, tuple[str, ...]]] = [
    ("nothing", "", None, ("the file is empty", "keys and values")),
    ("a comment alone", "# set: [pandas]\n", None, ("the file is empty",)),
    ("an empty mapping", "{}\n", None, ("the file is empty",)),
    ("a list", "- pandas\n", 1, ("holds a list", "set: [pandas==1.5.3]")),
    ("a text", "pandas==1.5.3\n", 1, ("holds a single value",)),
    ("prose alone", "description: to be done\n", None, ("nothing in this override file", "set, add")),
    ("an unknown key", "add: [a]\n\nsett:\n  - b\n", 3, ("'sett'", "is set meant?", "set, add, remove")),
    ("a key with a hyphen", "only-binary: [a]\n", 1, ("is only_binary meant?",)),
    ("a key like nothing", "zzz: 1\n", 1, ("'zzz'", "there are: description, set")),
    ("a number as key", "1: 2\n", 1, ("'1'",)),
    ("a merge", "set: [a]\n<<: {add: [b]}\n", 2, ("'<<'",)),
    ("a name", "name: lts\nset: [a]\n", 1, ("'name'", "--environment")),
    ("a version", "set: [a]\nversion: 1\n", 2, ("'version'", "--environment")),
    ("a created", "created: 2021-01-01\n", 1, ("--environment",)),
    ("no value", "set:\npython: 3.8\n", 1, ("set has no value", "take the line out")),
    ("a text for a list", "set: pandas==1.5.3\n", 1, ("a list of texts is wanted", "- 'pandas==1.5.3'")),
    ("a number for a list", "add: 3\n", 1, ("add is a number", "`add: [a, b]`")),
    ("a mapping for a list", "remove:\n  pandas: 1\n", 2, ("remove is a mapping",)),
    ("a number in a list", "set:\n- a\n- 3\n", 3, ("a line of set is a number", "quotes")),
    ("nothing in a list", "set:\n- a\n-\n", 3, ("a line of set is empty",)),
    ("an empty text in a list", "add: ['  ']\n", 1, ("an empty text",)),
    ("a colon in a list", "set:\n- name: 1\n", 2, ("is a mapping", "a colon")),
    ("a list in a list", "set: [[a]]\n", 1, ("is a list; a text is wanted",)),
    ("a line end in a text", 'set: ["a\\nb"]\n', 1, ("control character",)),
    ("a tab in a text", 'add: ["a\\tb"]\n', 1, ("control character",)),
    ("an escape in a text", 'index_url: "https://i.example/\\e[2J"\n', 1, ("control character",)),
    ("a line separator in a text", 'remove: ["a\\u2028b"]\n', 1, ("control character",)),
    ("an escape in prose", 'description: "\\e[2J"\nset: [a]\n', 1, ("control character",)),
    ("a list as prose", "description: [a]\nset: [a]\n", 1, ("a text is wanted",)),
    ("a list as Python", "python: [3.8]\n", 1, ("python is a list",)),
    ("a range as Python", "python: '>=3.8'\n", 1, ("'>=3.8'", "3.8.18")),
    ("a date with words", "as_of: 2021-04-30 at noon\n", 1, ("RFC 3339",)),
    ("a whole number as Python", "python: 3\n", 1, ("python is '3'",)),
    ("truth as Python", "python: yes\n", 1, ("true or false", "quotes")),
    ("another policy", "python_policy: newest\n", 1, ("'newest'", "exact, minor")),
    ("another repair", "repair: some\n", 1, ("safe, all, none",)),
    ("other model indexes", "model_indexes: all\n", 1, ("known, allow, deny",)),
    ("a text as flag", "no_build: 'yes'\n", 1, ("true or false",)),
    ("a number as flag", "no_build: 1\n", 1, ("true or false",)),
    ("a list as flag", "no_build: []\n", 1, ("no_build is a list",)),
    ("no date", "as_of: yesterday\n", 1, ("'yesterday'", "RFC 3339")),
    ("a month as date", "as_of: 2021-04\n", 1, ("'2021-04'",)),
    ("a number as accelerator", "accelerator: 118\n", 1, ("accelerator is a number",)),
    ("a number as address", "index_url: 80\n", 1, ("index_url is a number",)),
    ("a text for addresses", f"extra_index_url: https://u:{CANARY}@i.example/\n", 1, ("a list of texts",)),
    ("a mapping of requirements", "requirements: {a: 1}\n", 1, ("a list of lines or the path",)),
    ("a number in requirements", "requirements:\n- 1\n", 2, ("a line of requirements is a number",)),
    ("a flag as constraint", "constraint: true\n", 1, ("a list of lines or the path",)),
    ("a list as conda_env", "conda_env: [python=3.8]\n", 1, ("a mapping as in conda.yaml",)),
    ("a list as lock", "lock: [pylock.toml]\n", 1, ("lock is a list",)),
    ("truth as environment", "environment: on\n", 1, ("true or false",)),
]


@pytest.mark.parametrize(("text", "line", "words"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_an_override_file_is_refused_with_its_line_and_what_is_wanted(
    tmp_path: Path, text: str, line: int | None, words: tuple[str, ...]
) -> None:
    refused(tmp_path, text, line, *words)


@pytest.mark.parametrize("text", [one[1] for one in BAD], ids=[one[0] for one in BAD])
def test_the_schema_refuses_the_same(text: str) -> None:
    plain = document.parse(text, "X").plain()
    assert not validator("override_file").is_valid(plain)
    assert not validator().is_valid(plain)


BAD_CURATED: list[tuple[str, str, int | None, tuple[str, ...]]] = [
    ("no name", "version: 1\npython: 3.8\nrequirements: [a]\n", None, ("there is no name",)),
    ("no version", "name: lts\npython: 3.8\nrequirements: [a]\n", None, ("there is no version",)),
    ("no content", "name: lts\nversion: 1\npython: 3.8\n", None, ("requirements or conda_env",)),
    ("both contents", CURATED + "conda_env: {dependencies: []}\n", 5, ("one of them",)),
    ("no Python", "name: lts\nversion: 1\nrequirements: [a]\n", None, ("there is no python", '"3.10"')),
    ("an environment", CURATED + "environment: other\n", 5, ("--override",)),
    ("an unknown key", CURATED + "pythons: 3\n", 5, ("is python meant?", "name, version, created")),
    ("a capital in the name", CURATED.replace("lts", "LTS"), 1, ("'LTS'", "small letters")),
    ("a path as name", CURATED.replace("lts", "../lts"), 1, ("'../lts'",)),
    ("a dot before the name", CURATED.replace("lts", ".lts"), 1, ("'.lts'",)),
    ("a long name", CURATED.replace("lts", "l" * 101), 1, ("small letters",)),
    ("a list as name", CURATED.replace("lts", "[lts]"), 1, ("name is a list",)),
    ("truth as version", CURATED.replace("'1'", "yes"), 2, ("version is true or false",)),
    ("a path as version", CURATED.replace("'1'", "a/b"), 2, ("'a/b'",)),
    ("no day", CURATED + "created: someday\n", 5, ("2022-04-30",)),
    ("an instant as day", CURATED + "created: 2021-04-30T12:00:00Z\n", 5, ("write a day",)),
    ("a day that never was", CURATED + "created: 2021-02-30\n", 5, ("'2021-02-30'",)),
    ("a text for a list", CURATED + "add: boto3\n", 5, ("a list of texts",)),
]


@pytest.mark.parametrize(("text", "line", "words"), [o[1:] for o in BAD_CURATED], ids=[o[0] for o in BAD_CURATED])
def test_a_curated_environment_is_refused_with_its_line_and_what_is_wanted(
    tmp_path: Path, text: str, line: int | None, words: tuple[str, ...]
) -> None:
    refused(tmp_path, text, line, *words, curated=True)
    with pytest.raises(OverrideInvalid):
        parse_environment(text.encode(), URL)


@pytest.mark.parametrize("text", [one[1] for one in BAD_CURATED], ids=[one[0] for one in BAD_CURATED])
def test_the_schema_refuses_the_same_of_curated_environments(text: str) -> None:
    plain = document.parse(text, "X").plain()
    assert not validator("environment_file").is_valid(plain)
    assert not validator().is_valid(plain)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("set: [a]\nadd: [b]\nset: [c]\n", 3),
        ("set: [a]\n'set': [c]\n", 2),
        ("conda_env:\n  name: a\n  dependencies: [{pip: [a], pip: [b]}]\n", 3),
        ("conda_env:\n  name: a\n  name: a\n", 3),
    ],
)
def test_a_key_that_is_there_twice_is_refused_since_one_would_be_ignored(tmp_path: Path, text: str, line: int) -> None:
    refused(tmp_path, text, line, "is there twice")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"set: [a\n", ("not YAML",)),
        (b"set: [\xff]\n", ("not UTF-8",)),
        (b"set: !!python/name:os.system []\n", ("not plain data",)),
        (b"set: [*nobody]\n", ("not YAML",)),
        (b"a: 1\n---\nb: 1\n", ("not YAML",)),
        (b"set: " + b"[" * 200 + b"]" * 200, ("too deep",)),
        (b"x" * (document.MAX_BYTES + 1), ("10,485,761 bytes",)),
        (b"\x00", ("not YAML",)),
    ],
)
def test_what_is_no_plain_yaml_is_refused_as_a_model_s_files_are(
    tmp_path: Path, text: bytes, words: tuple[str, ...]
) -> None:
    with pytest.raises(OverrideInvalid) as caught:
        read(written(tmp_path, text))
    assert caught.value.place is not None
    assert caught.value.place.file == str(tmp_path / "override.yaml")
    assert all(word in caught.value.message for word in words)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, words in (("none.yaml", "No such file"), ("", "directory"), ("pipe.yaml", "not a file")):
        for reader in (read, read_environment):
            with pytest.raises(OverrideInvalid, match=words):
                reader(tmp_path / name)


def test_aliases_that_grow_and_long_texts_are_refused_in_few_words(tmp_path: Path) -> None:
    rows = ["description: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    for text in ("\n".join(rows), f"{'a' * 2**20}: 1\n", f"set: {'a' * 2**20}\n", f"python: {'a' * 2**20}\n"):
        with pytest.raises(OverrideInvalid) as caught:
            read(written(tmp_path, text))
        assert len(f"{caught.value} {caught.value.hint}") < 1000


@pytest.mark.parametrize("key", ["requirements", "constraint", "conda_env", "lock"])
@pytest.mark.parametrize("wanted", ["none.txt", "/nowhere/none.txt", "..", "x" * 500])
def test_a_file_that_is_not_there_is_named_with_the_line_that_names_it(tmp_path: Path, key: str, wanted: str) -> None:
    refused(tmp_path, f"add: [a]\n{key}: {wanted}\n", 2, f"{key} names", "where no file is", "relative to the folder")


@pytest.mark.parametrize("key", ["requirements", "constraint", "conda_env", "lock", "environment", "python"])
def test_an_address_where_a_path_is_wanted_is_said_without_credentials(tmp_path: Path, key: str) -> None:
    refused(tmp_path, f"{key}: https://u:{CANARY}@f.example/r\n", 1, "https://****@f.example/r", "a path is wanted")


def test_a_requirement_where_a_path_is_wanted_gets_the_form_of_a_list(tmp_path: Path) -> None:
    refused(tmp_path, "requirements: pandas==1.5.3\n", 1, "`- pandas==1.5.3`")


def test_an_address_that_is_none_is_refused_without_saying_it(tmp_path: Path) -> None:
    refused(tmp_path, f"index_url: 'https://u:{CANARY}@[::1'\n", 1, "index_url is no address")
    refused(tmp_path, f"extra_index_url:\n- 'https://u:{CANARY}@[::1'\n", 2, "a line of extra_index_url is no address")


@pytest.mark.parametrize(
    "line",
    [
        "constraint: constraints.txt",
        "constraint: /etc/constraints.txt",
        "find_links: [wheels]",
        "lock: pylock.toml",
        "python: venv/bin/python",
    ],
)
def test_a_fetched_environment_names_no_files(line: str) -> None:
    key = line.partition(":")[0]
    text = "".join(one for one in CURATED.splitlines(keepends=True) if not one.startswith(f"{key}:")) + line + "\n"
    with pytest.raises(OverrideInvalid, match="was fetched, and no files came with it") as caught:
        parse_environment(text.encode(), URL)
    assert caught.value.place is not None
    assert caught.value.place.file == URL


def test_a_fetched_environment_is_told_to_write_its_lists_into_itself() -> None:
    for key, words in (("requirements", "as a list of lines"), ("conda_env", "as a mapping")):
        text = f"name: lts\nversion: 1\npython: '3.8'\n{key}: file.txt\n"
        with pytest.raises(OverrideInvalid) as caught:
            parse_environment(text.encode(), URL)
        assert words in str(caught.value.hint)


def test_a_fetched_environment_may_have_addresses() -> None:
    text = f"{CURATED}find_links: [https://files.example/wheels/]\nextra_index_url: [https://index.example/simple]\n"
    given = parse_environment(text.encode(), URL).given
    assert given["find_links"] == ("https://files.example/wheels/",)
    assert given["extra_index_url"] == ("https://index.example/simple",)


# The schema

GOOD = [
    EVERYTHING,
    "python: 3.8.18\n",
    "python: /opt/python/bin/python\n",
    "set: []\n",
    "as_of: now\n",
    "as_of: 2021-04-30T12:00:00Z\n",
    "as_of: 2021-04-30 12:00\n",
    "environment: 1.5\n",
    "constraint: [a<2]\n",
]
GOOD_CURATED = [
    CURATED,
    CURATED + "created: 2021-04-30\nset: [a==1]\nconstraint: [b<2]\naccelerator: cpu\n",
    CURATED.replace("'1'", "2024.10"),
    CURATED.replace("'1'", "2024-01-31"),
    CURATED.replace("lts", "7"),
    "name: lts\nversion: a+b\nconda_env: {dependencies: [python=3.8]}\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_read_is_valid_by_the_schema(tmp_path: Path, text: str) -> None:
    (tmp_path / "lists").mkdir()
    for name in ("lists/requirements.txt", "pylock.toml"):
        (tmp_path / name).write_text("")
    assert overrides(tmp_path, text).source
    plain = document.parse(text, "X").plain()
    validator("override_file").validate(plain)
    validator().validate(plain)


@pytest.mark.parametrize("text", GOOD_CURATED)
def test_what_is_read_as_curated_is_valid_by_the_schema(tmp_path: Path, text: str) -> None:
    assert read_environment(written(tmp_path, text)).digest == parse_environment(text.encode(), URL).digest
    plain = document.parse(text, "X").plain()
    validator("environment_file").validate(plain)
    validator().validate(plain)


def keys_of(form: str) -> list[str]:
    return list(SCHEMA["$defs"][form]["properties"])


def test_the_schema_has_the_keys_that_are_read() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert sorted(keys_of("override_file")) == sorted(OVERRIDE_KEYS)
    assert sorted(keys_of("environment_file")) == sorted(ENVIRONMENT_KEYS)


@pytest.mark.parametrize("key", sorted({*OVERRIDE_KEYS, *ENVIRONMENT_KEYS}))
def test_every_key_of_the_schema_says_what_it_is(key: str) -> None:
    definition: dict[str, Any] = SCHEMA["$defs"][key]
    assert definition["description"].endswith(".")
    for form in ("override_file", "environment_file"):
        assert SCHEMA["$defs"][form]["properties"].get(key) in (None, {"$ref": f"#/$defs/{key}"})


# The examples and the page


def test_the_example_of_an_override_file_is_read_and_valid() -> None:
    assert [change.option for change in read(EXAMPLES / "override.yaml").changes] == ["set"]
    validator().validate(document.read(EXAMPLES / "override.yaml").plain())


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(EXAMPLES.glob("environments/*/*.yaml")) if path.name != "versions.yaml"],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_the_examples_of_curated_environments_are_read_and_valid_and_lie_where_they_say(path: Path) -> None:
    found = read_environment(path)
    assert (found.name, found.version) == (path.parent.name, path.stem)
    validator().validate(document.read(path).plain())


def test_the_examples_list_their_versions_as_they_lie_there() -> None:
    listed = sorted(EXAMPLES.glob("environments/*/versions.yaml"))
    assert listed
    for path in listed:
        there = {one.stem for one in path.parent.glob("*.yaml")} - {"versions"}
        assert {str(version) for version in document.read(path).plain()} == there
    assert {path.parent for path in listed} == {path for path in (EXAMPLES / "environments").iterdir() if path.is_dir()}


def test_every_example_on_the_page_is_read(tmp_path: Path) -> None:
    page = (REPO / "docs" / "override.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    assert len(blocks) >= 2
    for block in blocks:
        is_curated = block.startswith("name:")
        assert (read_environment if is_curated else read)(written(tmp_path, block)).digest
        validator().validate(document.parse(block, "X").plain())


def test_the_page_has_every_key() -> None:
    page = (REPO / "docs" / "override.md").read_text(encoding="utf-8")
    assert [key for key in (*OVERRIDE_KEYS, *ENVIRONMENT_KEYS) if f"`{key}`" not in page] == []
