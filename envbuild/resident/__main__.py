"""The program of a keeper: ``PYTHON -I .../envbuild/resident/__main__.py``, its order on standard input."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])

if __name__ == "__main__":
    # What started it may have found envbuild by PYTHONPATH, which -I leaves out.
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)
    from envbuild.resident.keeper import main

    main()
