"""Print the table of docs/conformance.md: what came of the cases, by era.

``PYTHONPATH=.:tests python tests/conformance/report.py [EXAMPLES [SEED]]``, with 8 bodies an example; it takes minutes.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from comparing import REFUSED, SAME, UNEXPLAINED
from eras import ERAS, TODAY, python_of
from kit import REPO
from sides import Actor, Sides
from test_generated import LARGE, OLD, SEED, _run


def rows(examples: int, start: int, folder: Path) -> Iterator[tuple[str, Counter[str]]]:
    """What is compared, and the counts of it."""
    home = REPO / ".cache" / "test-home"
    actors = {name: Actor(python_of(era, folder / "asks" / name, home), folder / name) for name, era in ERAS.items()}
    for name, era in ERAS.items():
        sides = Sides(era, folder / "models" / name, today=actors[TODAY], then=actors[name])
        for against in ("pyfunc", *(["server"] if name in OLD else []), *(["direct"] if name == TODAY else []), "auto"):
            counted = _run(sides, against, examples, start, strict=False)
            sys.stderr.writelines(counted.unexplained)
            yield f"{era.mlflow}, {_SAID[against]}", counted.verdicts
    for actor in actors.values():
        actor.close()


_SAID = {
    "pyfunc": "its pyfunc",
    "server": "its scoring server",
    "direct": "its pyfunc, ours without mlflow",
    "auto": "its pyfunc, ours where a direct load is taken",
}


def main(examples: int = LARGE, start: int = SEED + 1) -> None:
    print("| MLflow | cases | same answer | same refusal | named differences | unexplained |")
    print("| --- | ---: | ---: | ---: | --- | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, counts in rows(examples, start, Path(folder)):
            named = {what: count for what, count in counts.most_common() if what not in (SAME, REFUSED, UNEXPLAINED)}
            said = ", ".join(f"{what} {count}" for what, count in named.items())
            known = f"{counts.total()} | {counts[SAME]} | {counts[REFUSED]} | {said}"
            print(f"| {name} | {known} | {counts[UNEXPLAINED]} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
