"""How files are shared on disk: cloned, hard-linked or copied."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from envbuild.settings import LinkMode

_FICLONE = 0x40049409
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def resolved(mode: LinkMode, home: Path) -> LinkMode:
    """What ``auto`` means in a store: clones where the file system has them, else hard links, else copies.

    Hard links are safe where nobody writes into a read-only file. Root does, unless a worker can give that up without
    giving up reading (:mod:`envbuild.worker.privileges`): where it cannot, files are copied.
    """
    if mode in ("hardlink", "copy"):
        return mode
    if _can_clone(home):
        return "clone"
    if mode == "clone":
        # uv would take hard links in their place, which is not what was asked for.
        return "copy"
    capabilities = _capabilities()
    overrides = capabilities >> _DAC_OVERRIDE & 1
    return "copy" if overrides and not capabilities >> _DAC_READ_SEARCH & 1 else "hardlink"


def place(source: str, target: str, mode: LinkMode) -> None:
    """Put a file of the cache into an environment.

    :raises OSError: it cannot be written.
    """
    if mode == "hardlink":
        try:
            os.link(source, target)
        except OSError as error:
            # Too many links, another file system, somebody else's file: a copy is as good, and larger.
            if error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM):
                raise
        else:
            return
    elif mode == "clone" and _clone(source, target):
        return
    shutil.copy(source, target)


def _clone(source: str, target: str) -> bool:
    with open(source, "rb") as original, open(target, "wb") as clone:
        try:
            fcntl.ioctl(clone.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False
        os.fchmod(clone.fileno(), os.fstat(original.fileno()).st_mode & 0o777)
    return True


def _can_clone(home: Path) -> bool:
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=home, prefix=".links-") as name:
        source = Path(name) / "source"
        source.write_bytes(b"x" * 4096)
        return _clone(str(source), str(Path(name) / "target"))
    return False


def _capabilities() -> int:
    """What this process may do, as a set of bits (capabilities(7)); nothing where the system has no such."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0
