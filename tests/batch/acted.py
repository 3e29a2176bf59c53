"""A model that does what its rows say, in an environment with nothing in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import envbuild
from envbuild.batching import Batch

# Twice `x`; a word in its place is an act. Rows come as {"id": [...], "x": [...]}: there is no pandas here.
LOADER = """
import os, signal, time

class Acting:
    def predict(self, data):
        answer = []
        for value in data["x"]:
            if value == "bad":
                raise ValueError("a bad row")
            if value == "exit":
                os._exit(3)
            if value == "sleep":
                time.sleep(600)
            if value == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if value == "memory":
                raise MemoryError("too much")
            if value == "set":
                answer.append({1, 2})
            elif value == "short":
                pass
            elif value == "slow":
                time.sleep(0.4)
                answer.append(os.getpid())
            else:
                answer.append(None if value in (None, "") else 2 * float(value))
        if os.environ.get("PAUSE"):
            time.sleep(float(os.environ["PAUSE"]))
        if "table" in data:
            return [{"twice": value, "text": name} for value, name in zip(answer, data["table"])]
        if "columns" in data:
            names = data["columns"][0]
            return {name: answer for name in names}
        return answer

def _load_pyfunc(path):
    if os.path.exists(os.path.join(path, "broken")):
        raise RuntimeError("cannot be loaded")
    return Acting()
"""


@dataclass(frozen=True)
class Acting:
    """The model, its store and a place for files."""

    model: Path
    home: Path
    here: Path

    def file(self, name: str, text: str | bytes) -> Path:
        path = self.here / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def csv(self, rows: int, name: str = "in.csv", **acts: str) -> Path:
        """Rows whose `x` is their number from 1; ``r7="bad"`` puts an act into row 7."""
        lines = [f"{n},{acts.get(f'r{n}', n)}" for n in range(1, rows + 1)]
        return self.file(name, "\n".join(["id,x", *lines]) + "\n")

    def batch(self, source: Any, target: str = "out.csv", **options: Any) -> Batch:
        return envbuild.batch(
            self.model, source, f"{self.here}/{target}", home=self.home, offline=True, **{"chunk_rows": 10, **options}
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.here.iterdir())
