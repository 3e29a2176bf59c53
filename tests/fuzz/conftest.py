"""What the fuzz needs of other tests: a client of the worker that may break the rules, and of a server."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "bridge"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "server"))
