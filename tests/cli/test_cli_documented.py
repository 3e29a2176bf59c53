"""docs/cli.md says what there is: commands, options, settings, codes, notices and the keys of JSON."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import click
import pytest
from calling import ROOT, Call, MakeTiny

from envbuild import cli, errors
from envbuild.repairs.rules import RULES
from envbuild.settings import Settings
from envbuild.settings.serving import ServingSettings

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without the heads."""
    section = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [
        row for number, row in enumerate(rows) if number + 1 == len(rows) or not rows[number + 1][0].startswith("---")
    ]


def quoted(cell: str) -> str:
    (text,) = re.findall(r"`([^`]+)`", cell)
    return str(text)


def rows(heading: str) -> list[list[str]]:
    return [row for row in table(heading) if not row[0].startswith("---")]


# Every command by its whole name: `envs list`.
COMMANDS = [
    name if below is None else f"{name} {below}"
    for name in cli.COMMANDS
    for below in cli.SUBCOMMANDS.get(name, (None,))
]


def command_of(name: str) -> click.Command:
    found: click.Command | None = cli.envbuild
    for word in name.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def test_commands() -> None:
    documented = [
        quoted(row[0]).removeprefix("envbuild ") for row in rows("Commands") if row[0].startswith("`envbuild")
    ]
    assert [re.split(r" (?=[\[A-Z]|bash)", text)[0] for text in documented] == COMMANDS


@pytest.mark.parametrize("name", cli.SUBCOMMANDS)
def test_the_commands_of_a_group(name: str) -> None:
    group = command_of(name)
    assert isinstance(group, click.Group)
    assert tuple(group.commands) == cli.SUBCOMMANDS[name]


# Where both have a setting, the commands' own is the one with a default for all.
SETTINGS = {field.name: field for field in (*fields(ServingSettings), *fields(Settings))}


def test_options() -> None:
    documented: dict[str, set[str]] = {name: set() for name in COMMANDS}
    settings: dict[tuple[str, str], str] = {}
    for option, of, setting, _ in rows("Options"):
        names = [text.split()[0] for text in re.findall(r"`([^`]+)`", option)]
        for command in COMMANDS if of == "all" else [name.replace("-", " ") for name in of.split()]:
            documented[command] |= set(names)
            if setting:
                settings[command, names[-1]] = quoted(setting)
    for name in COMMANDS:
        parameters = [parameter for parameter in command_of(name).params if isinstance(parameter, click.Option)]
        assert documented[name] == {text for one in parameters for text in one.opts} | {"-h", "--help"}, name
        for one in parameters:
            variable = settings.get((name, one.opts[-1]))
            known = (one.name or "") in SETTINGS
            assert variable == (f"ENVBUILD_{(one.name or '').upper()}" if known else None), one.opts


def test_choices() -> None:
    for option, of, _, _ in rows("Options"):
        name, _, values = re.findall(r"`([^`]+)`", option)[-1].partition(" ")
        command = command_of(COMMANDS[0] if of == "all" else of.split()[0].replace("-", " "))
        for parameter in command.params:
            if name in parameter.opts and isinstance(parameter.type, click.Choice):
                assert values.split("|") == list(parameter.type.choices)


def test_settings() -> None:
    documented = {quoted(row[0]): row[1] for row in rows("Settings")}
    assert set(documented) == {f"ENVBUILD_{name.upper()}" for name in SETTINGS}
    for field in SETTINGS.values():
        said = documented[f"ENVBUILD_{field.name.upper()}"]
        if field.default is MISSING or field.default in (None, (), ""):
            assert "`" not in said
        else:
            default: Any = field.default
            assert quoted(said) == (
                f"{default:g}"
                if isinstance(default, float)
                else str(int(default) if default in (True, False) else default)
            )


def _kinds(kind: type[errors.EnvbuildError]) -> Iterator[type[errors.EnvbuildError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _kinds(below)


def test_codes() -> None:
    documented = [
        (int(row[0]), quoted(row[1])) for row in rows("Exit codes and error codes") if row[0].isdigit() and row[1]
    ]
    kinds = list(_kinds(errors.EnvbuildError))
    assert documented == [(kind.exit_code, kind.code) for kind in kinds]
    assert len({kind.code for kind in kinds}) == len(kinds)
    drawn = re.findall(r"[├└]── (\w+) +(\d+)  ([a-z-]+)", errors.__doc__ or "")
    assert drawn == [(kind.__name__, str(kind.exit_code), kind.code) for kind in kinds[1:]]


def test_notices() -> None:
    said: set[str] = set()
    for path in (ROOT / "envbuild").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", None))
            values = [keyword.value for keyword in node.keywords if keyword.arg == "code"] if called == "Notice" else []
            values += node.args[:1] if called == "noting" else []
            said |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    assert [quoted(row[0]) for row in rows("Notices")] == sorted(
        said - RULES.keys() | {"conda-tool", "foreign-platform"}
    )


EXAMPLES = {
    (example["command"], example["ok"]): example
    for example in (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL))
}


def keys(value: Any, depth: int = 2) -> Any:
    """The keys of an answer; those of lists by their first element, and none below flavors."""
    if isinstance(value, dict) and depth:
        return {name: keys(below, depth - 1) for name, below in value.items() if name != "flavors"}
    if isinstance(value, list) and value:
        return keys(value[0], depth)
    return None


SIGNATURE = json.dumps([{"name": "age", "type": "double"}])
# What of an answer holds entries whose keys are documented too.
ENTRIES = {
    "verify": "environments",
    "envs list": "environments",
    "envs show": "environments",
    "lock": "packages",
    "explain": "packages",
    "diff": "a",
    "check": "environments",
}


BARE = ("envs list", "envs gc", "workers list")


@pytest.mark.sampled(3)
# An image needs a daemon and a server does not end: tests/images and tests/server hold their examples against the code.
@pytest.mark.parametrize("command", [*(name for name in COMMANDS if name not in ("image", "serve")), "error"])
def test_json_examples(call: Call, tiny: MakeTiny, command: str) -> None:
    model = tiny(mlmodel=f"signature:\n  inputs: '{SIGNATURE}'\n  outputs: '{SIGNATURE}'\n")
    model_and: dict[str, list[object]] = {"predict": [model.path, "-"], "run": [model.path], "completion": ["bash"]}
    model_and["diff"] = [model.path, model.path]
    model_and["workers stop"] = ["--all"]
    model_and["check"] = [model.path, "--input", "-"]
    (model.path.parent / "in.csv").write_text("age\n1\n")
    model_and["batch"] = [model.path, model.path.parent / "in.csv", model.path.parent / "out.csv"]
    bundle = model.path.parent / "tiny.bundle"
    model_and["bundle export"] = [model.path, "-o", bundle]
    model_and["push"] = model_and["pull"] = [model.path, bundle.parent]
    model_and["bundle inspect"] = model_and["bundle verify"] = [bundle]
    if command in ("bundle inspect", "bundle verify"):
        assert call("bundle", "export", model.path, "-o", bundle).code == 0
    if command == "pull":
        assert call("push", *model_and["pull"]).code == 0
    if command == "error":
        (model.path / "conda.yaml").write_text("dependencies:\n- pip:\n  - '!!'\n")
        done, example = call("build", model.path, "--json"), EXAMPLES["build", False]
        assert done.json["error"]["place"]["line"] == 3
    else:
        more = ["--", "true"] if command == "run" else []
        model_and.update({name: [] for name in COMMANDS if name.startswith("cache") or name in (*BARE, "doctor")})
        if command in ("verify", *(name for name in COMMANDS if name.startswith("envs"))):
            assert call("build", model.path).code == 0
        arguments = [*model_and.get(command, [model.path]), "--json", *more]
        done, example = call(*command.split(), *arguments, stdin=b'{"inputs": {"age": [1]}}'), EXAMPLES[command, True]
        assert done.code == 0, done.stderr
    answer = done.json
    if command == "inspect":
        for part in ("model", "environment", "signature"):
            assert set(answer[part]) == set(example[part]), part
        assert keys(answer["environment"]["requirements"]) == keys(example["environment"]["requirements"])
        assert keys(answer["signature"]["inputs"]) == keys(example["signature"]["inputs"])
    elif command in ENTRIES:
        depth = 1 if command == "explain" else 2
        assert keys(answer[ENTRIES[command]], depth) == keys(example[ENTRIES[command]], depth)
    elif command == "cache size":
        assert set(answer["bytes"]) == set(example["bytes"])
    elif command == "error":
        assert set(answer["error"]) == set(example["error"])
    assert set(answer) == set(example)


def test_every_command_has_an_example() -> None:
    assert {name for name, ok in EXAMPLES if ok} == set(COMMANDS)
    assert all(example["schema_version"] == 1 for example in EXAMPLES.values())


DOCS = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}


def test_the_rooms_are_those_of_the_file_tree() -> None:
    page = DOCS[ROOT / "docs" / "architecture.md"]
    documented = re.findall(r"^\| `([a-z_]+(?:/|\.py))` \|", page, flags=re.MULTILINE)
    tree = [path for path in (ROOT / "envbuild").iterdir() if not path.name.startswith(("__", "."))]
    there = {f"{path.name}/" if path.is_dir() else path.name for path in tree if path.is_dir() or path.suffix == ".py"}
    assert len(documented) == len(set(documented))
    assert set(documented) == there


def test_the_tests_that_are_named_are_there() -> None:
    there = {
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = {name for text in DOCS.values() for name in re.findall(r"`(test_\w+)`", text)}
    assert named <= there, sorted(named - there)


def test_links_lead_somewhere() -> None:
    for path, text in DOCS.items():
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_repairs_are_documented() -> None:
    page = DOCS[ROOT / "docs" / "repairs.md"]
    documented = re.findall(r"^\| `([a-z-]+)` \| (nothing: safe|consent) \|", page, flags=re.MULTILINE)
    assert documented == [(name, "nothing: safe" if RULES[name].safe else "consent") for name in sorted(RULES)]


def test_the_table_of_the_lock_is_documented(call: Call, tiny: MakeTiny) -> None:
    page = DOCS[ROOT / "docs" / "lock.md"].partition("## `[tool.envbuild]`")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.MULTILINE))
    text = call("lock", tiny().path).stdout.partition("[tool.envbuild]")[2]
    written = set(re.findall(r"^([a-z-]+) = ", text, flags=re.MULTILINE))
    # These are written where there is something to write.
    assert written | {"notices", "build", "cuts", "overrides", "conda-reason"} == documented


def test_imports_go_downward_in_the_table_of_rooms() -> None:
    page = DOCS[ROOT / "docs" / "architecture.md"]
    order = re.findall(r"^\| `([a-z_]+)(?:/|\.py)` \|", page, flags=re.MULTILINE)
    upward = []
    for path in (ROOT / "envbuild").rglob("*.py"):
        room = path.relative_to(ROOT / "envbuild").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if room in order and isinstance(node, ast.ImportFrom) and node.module and not node.level:
                top, _, below = node.module.partition(".")
                names = [below.partition(".")[0]] if below else [alias.name for alias in node.names]
                others = [name for name in names if top == "envbuild" and name in order]
                upward += [
                    f"{path.name}:{node.lineno} {name}" for name in others if order.index(name) < order.index(room)
                ]
    assert upward == []


def test_one_room_starts_processes_and_the_worker_knows_nothing_of_us() -> None:
    for path in (ROOT / "envbuild").rglob("*.py"):
        room = path.relative_to(ROOT / "envbuild")
        text = path.read_text(encoding="utf-8")
        if room.parts[0] != "worker" and str(room) != "process.py":
            assert not re.search(r"^\s*(import|from) subprocess", text, flags=re.MULTILINE), room
        if room.parts[0] == "worker":
            assert not re.search(r"^\s*(import|from) envbuild", text, flags=re.MULTILINE), room
