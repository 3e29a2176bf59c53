"""What the fuzz needs of the bridge's tests: a client of the worker that may break the rules."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "bridge"))
