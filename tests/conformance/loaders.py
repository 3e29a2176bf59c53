"""Make ``envbuild/bridge/loaders.json``: where a direct load gives the same answers as an mlflow.

``PYTHONPATH=.:tests python tests/conformance/loaders.py [--home STORE] [MINOR ...]`` makes the entries of these minor
versions (of all in ``releases.py``) anew, and keeps the others; the table in ``docs/loaders.md`` follows. In an environment of each release, mlflow saves small
models of every flavor (``far/flavors.py``), and its pyfunc and our direct loader are asked the same; then bodies for
every kind of signature go to our worker, with mlflow and with our own enforcing. Only what is the same throughout is
put on the list.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import strategies
from comparing import NO_SHRINKING
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from kit import REPO
from releases import RELEASES, Release, python_of
from sides import FAR, Actor, Case, digest, mirror_code, order_of, write_model

from envbuild.bridge import WorkerOptions
from envbuild.bridge.loaders import ALLOWED, OWN, form_of, kinds_of
from envbuild.bridge.messages import load_order
from envbuild.errors import EnvbuildError
from envbuild.model import read_model

MADE_BY = "PYTHONPATH=.:tests python tests/conformance/loaders.py [MINOR ...]"
PAGE, MARK = REPO / "docs" / "loaders.md", "<!-- made by tests/conformance/loaders.py -->\n\n"
SEED = 20261122
SIGNATURES, BODIES = 12, 8
"""Of each kind of signature, and for each."""
OWN_CODE = {
    "own.py": """
import importlib.util
import os


class Own:
    def __init__(self, path):
        self.path = path

    def predict(self, data):
        found = [name for name in ("inner", "pack", "in_pack") if importlib.util.find_spec(name)]
        return [os.path.basename(self.path), found, type(data).__name__, repr(data)]


def _load_pyfunc(path):
    return Own(path)
""",
    "plain/inner.py": "",
    "pack/__init__.py": "",
    "pack/in_pack.py": "",
}
Answers = list[dict[str, Any]]


class Compared:
    """An environment of a release, with a process that has its mlflow and one that cannot import it."""

    def __init__(self, release: Release, folder: Path, home: Path) -> None:
        self.release = release
        self._folder = folder
        self._python = python_of(release, folder / "asks", home)
        self._start()

    def _start(self) -> None:
        self._theirs = Actor(self._python, self._folder / "theirs")
        self._ours = Actor(self._python, self._folder / "ours", "without-mlflow")

    def close(self) -> None:
        self._theirs.close()
        self._ours.close()

    def entry(self) -> dict[str, Any]:
        """What is put on the list for the release."""
        return {"release": self.release.mlflow, "flavors": self.flavors(), "signatures": self.signatures()}

    def flavors(self) -> dict[str, list[str]]:
        """The flavors and serializations that are the same, by flavor."""
        # First: once other models' code is on the path of the process it stays there.
        shown: dict[str, set[str]] = {OWN: {"code"}} if self._is_same_own() else {}
        differing: set[tuple[str, str]] = set()
        for path in self._saved():
            form = form_of(read_model(path))
            key = (form.flavor, form.serialization)
            if self._is_same(path):
                shown.setdefault(form.flavor, set()).add(form.serialization)
            else:
                differing.add(key)
        for flavor, serialization in differing:
            shown.get(flavor, set()).discard(serialization)
        return {flavor: sorted(some) for flavor, some in sorted(shown.items()) if some}

    def _saved(self) -> list[str]:
        folder = self._folder / "saved"
        folder.mkdir()
        with (self._folder / "saving").open("wb") as stderr:
            done = subprocess.run(
                [self._python, "-I", FAR / "flavors.py", folder],
                cwd=folder,
                env={"PATH": f"{self._python.parent}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"},
                stdout=subprocess.PIPE,
                stderr=stderr,
                check=True,
            )
        paths: list[str] = []
        for name, made in json.loads(done.stdout).items():
            if isinstance(made, str):
                said(f"{self.release.mlflow}: {name} is left out: {made}")
            else:
                paths += made
        return paths

    def _is_same_own(self) -> bool:
        path = self._folder / "own"
        write_model(path, self.release, "own", "model.bin", OWN_CODE)
        (path / "model.bin").write_bytes(b"")
        return self._is_same(str(path))

    def _is_same(self, path: str) -> bool:
        model = read_model(path)
        options = WorkerOptions(loader="direct", flavor=form_of(model).order, instead_of=self.release.minor)
        order = json.loads(load_order(model, options))
        asked = [{"model": path, "input": name, "order": order} for name in INPUTS]
        asked += [{"model": path, "input": "doubles", "order": order, "params": {"limit": 1}}]
        try:
            theirs, ours = self._theirs.ask("ask", asked), self._ours.ask("ask_directly", asked)
        except (AssertionError, BrokenPipeError):  # a library of that time that ends the process
            said(f"{self.release.mlflow}: {Path(path).name}: one of the processes ended")
            self.close()
            self._start()
            return False
        differing = [
            (case["input"], one, other)
            for case, one, other in zip(asked, theirs, ours, strict=True)
            if not _alike(one, other)
        ]
        for what, one, other in differing[:3]:
            said(
                f"{self.release.mlflow}: {Path(path).name}: {what}:\n  theirs {str(one)[:300]}\n  ours   {str(other)[:300]}"
            )
        return not differing and any("answer" in one for one in theirs)

    def signatures(self) -> list[str]:
        """The kinds of signatures that are the same; mixed they must be so too."""
        alone = {name: self._differing(inputs, SIGNATURES) for name, inputs in KINDS.items()}
        shown = sorted(name for name, differing in alone.items() if not differing)
        for name, differing in alone.items():
            for case, one, other in differing[:1]:
                said(f"{self.release.mlflow}: {name}: {case}\n  theirs {str(one)[:300]}\n  ours   {str(other)[:300]}")
        if shown and (wrong := self._differing(mixed(shown), 4 * SIGNATURES)):
            raise AssertionError(f"alone the kinds are the same, and mixed they are not: {wrong[0]}")
        return shown

    def _differing(self, inputs: Any, examples: int) -> list[tuple[Any, Any, Any]]:
        cases = list(_cases(inputs, examples))
        theirs = self._theirs.ask("serve", [self._served(case, "mlflow") for case in cases])
        ours = self._ours.ask("serve", [self._served(case, "direct") for case in cases])
        return [
            (case, one, other) for case, one, other in zip(cases, theirs, ours, strict=True) if not _alike(one, other)
        ]

    def _served(self, case: Case, loader: Any) -> dict[str, Any]:
        order = order_of(self._mirror(case.signature))
        if loader == "direct":
            order = {**order, "direct": True, "mlflow": self.release.minor}
        return {
            "body": base64.b64encode(case.body).decode(),
            "content_type": case.content_type,
            "order": order,
            "may_fail": True,
        }

    def _mirror(self, signature: Any) -> str:
        path = self._folder / "mirrors" / digest(signature)
        if not path.exists():
            write_model(path, self.release, "mirror", "old", mirror_code(), signature)
            (path / "old").touch()
        return str(path)


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both sides answered the same, or both refused, the model's fault on both or on neither."""
    if "refused" in one or "refused" in other:
        return "refused" in one and "refused" in other and _blame(one) == _blame(other)
    return one == other


def _blame(refused: dict[str, Any]) -> str | None:
    code = refused.get("code")
    return "input" if code in ("input-mismatch", "input-invalid") else code


def _cases(inputs: st.SearchStrategy[list[dict[str, Any]]], examples: int) -> Iterator[Case]:
    """Bodies for signatures with such inputs, the same ones every time."""
    found: list[Case] = []
    signatures = inputs.map(lambda specs: {"inputs": specs})
    batches = signatures.flatmap(lambda known: st.lists(strategies.bodies(known), min_size=BODIES, max_size=BODIES))

    @seed(SEED)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=NO_SHRINKING,
        suppress_health_check=list(HealthCheck),
    )
    @given(batches)
    def collect(cases: list[Case]) -> None:
        found.extend(cases)

    collect()
    return iter({str(case): case for case in found}.values())


def _columns(*kinds: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = st.lists(st.sampled_from(kinds), min_size=1, max_size=3)
    return columns.map(lambda some: [{"type": kind, "name": name} for kind, name in zip(some, strategies.NAMES)])


def mixed(kinds: Sequence[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Columns of several kinds side by side, some of them optional; or inputs of one kind."""
    alone = [kind for kind in kinds if kind.startswith("tensor") or kind == "columns without names"]
    columns = [KINDS[kind].map(lambda specs: specs[0]) for kind in kinds if kind not in (*alone, "optional")]
    flags = st.lists(st.booleans() if "optional" in kinds else st.just(True), min_size=4, max_size=4)
    made = st.tuples(st.lists(st.one_of(columns), min_size=1, max_size=4), flags).map(
        lambda both: [
            {**spec, "name": name, **({} if flag else {"required": False})}
            for spec, name, flag in zip(both[0], strategies.NAMES, both[1])
        ]
    )
    return st.one_of(made, made, made, *(KINDS[kind] for kind in alone))


def _nameless() -> st.SearchStrategy[list[dict[str, Any]]]:
    kinds = st.lists(st.sampled_from(("long", "double", "boolean", "integer", "float")), min_size=1, max_size=3)
    return kinds.map(lambda some: [{"type": kind} for kind in some])


def _optional() -> st.SearchStrategy[list[dict[str, Any]]]:
    flags = st.lists(st.booleans(), min_size=3, max_size=3)
    columns = _columns("long", "double", "boolean", "integer", "float")
    return st.tuples(columns, flags).map(lambda both: [{**column, "required": flag} for column, flag in zip(*both)])


def _tensors(kind: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return strategies.tensors().filter(lambda specs: set(kinds_of({"inputs": specs})) == {kind})


# Nested types and tensors of text are always left to mlflow: there the differences are named ones (``differences.py``).
KINDS: dict[str, st.SearchStrategy[list[dict[str, Any]]]] = {
    **{kind: _columns(kind) for kind in (*strategies.SCALARS, "datetime")},
    **{kind: _tensors(kind) for kind in ("tensor", "tensors with names")},
    "columns without names": _nameless(),
    "optional": _optional(),
}
INPUTS: tuple[str, ...] = (
    "doubles",
    "floats",
    "integers",
    "small integers",
    "booleans",
    "objects",
    "text",
    "one row",
    "no rows",
    "missing values",
    "another order",
    "a column too few",
    "a column too many",
    "no names",
    "an index",
    "mixed",
    "moments",
    "array",
    "array of floats",
    "array of integers",
    "array of objects",
    "a row",
    "a cube",
    "dict of arrays",
    "dict of floats",
    "dict of lists",
    "dict of columns",
    "the input by its name",
    "the input by its name, floats",
    "lists",
    "records",
    "series",
    "number",
    "nothing",
    "word",
)


def entry_of(minor: str, folder: Path, home: Path) -> dict[str, Any]:
    """What the list says of a release, made anew."""
    compared = Compared(RELEASES[minor], folder, home)
    try:
        return compared.entry()
    finally:
        compared.close()


def written(entries: dict[str, Any]) -> str:
    """The list as a file: a line a release, in their order."""
    order = sorted(entries, key=lambda minor: tuple(map(int, minor.split("."))))
    lines = ",\n".join(f"  {json.dumps(minor)}: {json.dumps(entries[minor])}" for minor in order)
    return f'{{\n "made by": {json.dumps(MADE_BY)},\n "mlflow": {{\n{lines}\n }}\n}}\n'


def table(entries: dict[str, Any]) -> str:
    """The list as docs/loaders.md has it: a line for releases that follow one another and are alike."""
    order = sorted(entries, key=lambda minor: tuple(map(int, minor.split("."))))
    alike = [list(some) for _, some in itertools.groupby(order, key=lambda minor: _row(entries[minor]))]
    lines = ["| mlflow | flavors | kinds of signatures |", "| --- | --- | --- |"]
    for some in alike:
        lines.append(f"| {', '.join(some)} | {_row(entries[some[0]])} |")
    return "\n".join(lines) + "\n"


def _row(entry: dict[str, Any]) -> str:
    flavors = "; ".join(f"{flavor}: {', '.join(some)}" for flavor, some in entry["flavors"].items())
    return f"{flavors} | {', '.join(entry['signatures']) or 'none'}"


def said(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("minors", nargs="*", metavar="MINOR", default=list(RELEASES))
    parser.add_argument("--home", type=Path, default=REPO / ".cache" / "test-home", help="where environments are built")
    asked = parser.parse_args()
    for minor in asked.minors:
        with tempfile.TemporaryDirectory() as folder:
            try:
                entry = entry_of(minor, Path(folder), asked.home)
            except (EnvbuildError, AssertionError, subprocess.CalledProcessError) as error:
                said(f"{minor} is left as it was: {error}")
                continue
        entries = {**json.loads(ALLOWED.read_text(encoding="utf-8"))["mlflow"], minor: entry}
        ALLOWED.write_text(written(entries), encoding="utf-8")
        above, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
        PAGE.write_text(f"{above}{mark}{table(entries)}", encoding="utf-8")
        said(f"{minor}: {json.dumps(entry)}")


if __name__ == "__main__":
    main()
