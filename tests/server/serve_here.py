"""``python serve_here.py ENVIRONMENT OWN MOUNTED COMMAND...``: the server, with other places than an image has."""

from __future__ import annotations

import sys
from pathlib import Path

from envbuild.server.container import init


def _command() -> int:
    from envbuild.server.container.commands import main
    from envbuild.server.container.place import Places

    environment, own, mounted = map(Path, sys.argv[1:4])
    return main(sys.argv[4:], Places(environment=environment, own=own, mounted=mounted))


if __name__ == "__main__":
    sys.exit(init.run(_command))
