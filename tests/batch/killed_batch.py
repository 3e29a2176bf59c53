"""``killed.py`` with a note after every chunk: ``python killed_batch.py NAME NTH batch ...``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from killed import arm

from envbuild.batching import working
from envbuild.cli import main

if __name__ == "__main__":
    working.NOTE_SECONDS = 0.0
    arm(sys.argv[1], int(sys.argv[2]))
    main(sys.argv[3:])
