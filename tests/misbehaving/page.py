"""The page docs/misbehaving.md, made from real runs: ``PYTHONPATH=.:tests python tests/misbehaving/page.py``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import seeing
import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "misbehaving.md"
SHOWN = 110
HEAD = """# Models that misbehave

What the host sees of each model in `tests/misbehaving/models`. This page is made from real runs on CPython {version}
(`PYTHONPATH=.:tests python tests/misbehaving/page.py`), and a test compares it with others.

Whatever happened, afterwards no process that the model started is left, wherever it went, and neither the worker's
directories nor a descriptor or a thread of the host's. "Good after" says whether the same worker answers the next
request; where it does not, its error says why, and `load_model` and the server in images start another. The number
behind a code is the exit code of `envbuild predict`.

| model | what it does | what is seen | good after |
| --- | --- | --- | --- |
"""

FOOT = """
## Mutated frames and bodies

`tests/fuzz` makes the same mutations for the same seed; the default tests run a part of them, the slow ones all. These
are the figures of `pytest -m slow -s tests/fuzz` with pandas 3.1.1 and pyarrow 26.0.1 in the model's environment:

| what | how many | what came of it |
| --- | --- | --- |
| bodies (JSON in all forms, JSON Lines, CSV, Parquet, Arrow, gzip) for a signature of columns | 3,400 | 296 answered, 767 `input-mismatch`, 2,337 `input-invalid` |
| the same for a signature of tensors | 3,400 | 156 answered, 1,028 `input-mismatch`, 2,216 `input-invalid` |
| the same without a signature | 3,400 | 969 answered, 2,429 `input-invalid`, 2 `output-invalid` |
| frames from the host to a worker | 10,000 | 2,185 answered, 2,536 `input-invalid`, 5,077 `worker-protocol`; 211 ended the worker, 27 left it waiting for more |
| streams of frames from a worker to the host | 10,000 | 15,728 frames read; 8,122 streams refused (`ProtocolError`), 1,878 read to their end |
| orders to load, above all signatures | 6,000 | 3,384 loaded, 1,276 `model-not-loaded`, the others `worker-protocol` |

After each body the same worker answered a good request. After each frame that docs/bridge.md calls readable it did too;
after the others it said `failed` and ended with status 3, and its successor answered. There was no time-out, no
traceback and no error without a class.
"""


def row(name: str, seen: seeing.Seen) -> str:
    """A model's line of the table."""
    said = seen.said if len(seen.said) <= SHOWN else seen.said[:SHOWN].rstrip() + " …"
    cells = (f"`{name}`", seeing.does(name), said.replace("|", "\\|"), "yes" if seen.stays else "no")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run all models, and write the page."""
    lines = []
    for name in seeing.names():
        with tempfile.TemporaryDirectory() as folder:
            model = seeing.model_of(name, Path(folder, "model"))
            seen = seeing.see(Path(sys.executable), model, lambda chunk: None, **table.options(name))
        lines.append(row(name, seen) + "\n")
    version = ".".join(map(str, sys.version_info[:2]))
    PAGE.write_text(HEAD.format(version=version) + "".join(lines) + FOOT)


if __name__ == "__main__":
    main()
