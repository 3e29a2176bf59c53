"""``python serve_there.py MODEL``: the server, with a worker in this very Python."""

from __future__ import annotations

import sys
from pathlib import Path

from envbuild.bridge import Worker, WorkerOptions
from envbuild.model import read_model
from envbuild.server import saying
from envbuild.server.served import Served
from envbuild.server.serving import serve
from envbuild.settings.serving import ServingSettings


def main() -> None:
    model, settings = read_model(Path(sys.argv[1])), ServingSettings.from_environ(port=0)
    served = Served(
        model=model,
        name="fuzzed",
        lock=None,
        environment=Path(sys.prefix),
        start=lambda: Worker.start(Path(sys.executable), model, WorkerOptions(stderr=saying.of_model())),
    )
    serve(served, settings)


if __name__ == "__main__":
    main()
