"""One install as a process of its own: ``python install_once.py HOME PREFIX LINK_MODE < PACKAGES``; says its error as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from envbuild.conda.package import from_table
from envbuild.conda.running import Rattler
from envbuild.errors import EnvbuildError
from envbuild.settings import Settings


def main() -> None:
    home, prefix, link_mode = sys.argv[1:]
    half = from_table(json.load(sys.stdin))
    rattler = Rattler(settings=Settings.from_environ({}, home=Path(home)))
    # As the pipeline does before a build.
    shutil.rmtree(prefix, ignore_errors=True)
    try:
        rattler.install(half.packages, Path(prefix), half.subdir, lambda step: None, link_mode=link_mode)
    except EnvbuildError as error:
        print(json.dumps(error.to_dict()))


if __name__ == "__main__":
    main()
