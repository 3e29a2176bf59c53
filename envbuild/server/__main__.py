"""``python -m envbuild.server``: nothing but the init is imported before it is clear which process goes on."""

from __future__ import annotations

import sys

from envbuild.server.container import init


def main() -> int:
    """Run the command that the arguments name and give its exit status; as process 1 in a process of its own."""
    return init.run(_command)


def _command() -> int:
    # Imported here: process 1 stays small.
    from envbuild.server.container.commands import main as run_command

    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
