"""The two channels of real packages as they are kept: below the shared home, by what makes them."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import real_packages
import tiny_packages
from channel import SUBDIR, Channel, Channels
from tiny import File

from envbuild import interpreters
from envbuild.settings import Settings

# A new one is made when anything of what makes them changes.
_SOURCES = ("channel.py", "real_packages.py", "tiny_packages.py")
_KEPT_SECONDS = 7 * 86400


def kept_channels(home: Path, released: Callable[..., list[File]]) -> Channels:
    """The channels, made now where nobody has."""
    content = b"".join(Path(__file__).with_name(name).read_bytes() for name in _SOURCES)
    above = home / "conda-channels"
    place = above / f"{hashlib.sha256(content).hexdigest()[:16]}-{SUBDIR}"
    if not place.exists():
        scratch = above / f"making-{uuid.uuid4().hex}"
        try:
            _make(scratch, home, released)
            # Whoever was first has won: both have made the same.
            scratch.rename(place)
        except OSError:
            assert place.exists()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    os.utime(place)
    for other in above.iterdir():
        if time.time() - other.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    return Channels(place)


def _make(folder: Path, home: Path, released: Callable[..., list[File]]) -> None:
    known = Settings.from_environ({}, home=home, python_downloads=False)
    forge, main = Channel(folder / "forge"), Channel(folder / "main")
    wheels = real_packages.wheels_of(real_packages.OF_2019, "3.6", released)
    real_packages.fill_main(main, interpreters.find("3.6", known), wheels)
    wheels = real_packages.wheels_of(real_packages.OF_2022, "3.8", released)
    real_packages.fill_forge(forge, interpreters.find("3.8", known), wheels)
    forge.add(*tiny_packages.OTHERS, tiny_packages.SHARED_OF_FORGE)
    main.add(tiny_packages.SHARED_OF_MAIN)
