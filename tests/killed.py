"""envbuild's command line, killed at a chosen step: ``python killed.py NAME NTH COMMAND...``.

``NAME`` ``?`` writes the names of the steps to standard error as they are reached, and kills nothing.
"""

from __future__ import annotations

import os
import signal
import sys

from envbuild import faults
from envbuild.cli import main


def arm(name: str, nth: int) -> None:
    """Kill the whole group when a step is reached for the nth time."""
    seen: list[str] = []

    def reached(step: str) -> None:
        if name == "?":
            print(f"step: {step}", file=sys.stderr, flush=True)
        elif step == name:
            seen.append(step)
            if len(seen) == nth:
                os.killpg(0, signal.SIGKILL)

    faults.reached = reached


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    main(sys.argv[3:])
