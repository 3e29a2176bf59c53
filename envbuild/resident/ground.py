"""Ground: the private directory in which resident workers are found, and the secret that their keys are made with.

.. code-block:: text

    ENVBUILD_HOME/resident-<uid>-<machine>/    mode 0700
    ├── secret                 32 random bytes, mode 0600
    ├── <tag>-<id>.sock        the socket of one keeper
    └── <tag>-<id>.lock        its flock is held as long as the keeper lives

``<machine>`` is this machine since it was started; a container on it is another one. Everything is reached through the
open directory, so that nobody can put another one in its place, and its path may be of any length.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Final

from envbuild.store import flock

SECRET: Final = "secret"  # noqa: S105 - the name of a file
SECRET_BYTES: Final = 32
SOCKET, LOCK = ".sock", ".lock"
_TAG_BYTES: Final = 4
_OLD_SECONDS: Final = 30 * 86400.0


class Unusable(Exception):
    """Why there is no resident worker for a call; the message says it."""


class Untrusted(Unusable):
    """The private directory, or something in it, is not as we make it; the message says what."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a keeper's files are called."""

    tag: str
    """The model's: by it, workers of a model are found before its key is known."""
    id: str
    """The beginning of the key."""

    @property
    def socket(self) -> str:
        """The file of its socket."""
        return f"{self.tag}-{self.id}{SOCKET}"

    @property
    def lock(self) -> str:
        """The file that it locks while it lives."""
        return f"{self.tag}-{self.id}{LOCK}"


class Ground:
    """The private directory, open."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._secret: bytes | None = None

    @classmethod
    def opened(cls, home: Path, *, make: bool = False) -> Ground | None:
        """The directory of this user on this machine; ``None`` where there is none.

        :param make: make it where it is missing.
        :raises Untrusted: it is another user's, or others may look into it.
        :raises OSError: it cannot be made.
        """
        path = home / f"resident-{os.geteuid()}-{_machine()}"
        if make:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            if make:
                raise Untrusted(f"{path} is no directory") from error
            return None
        except OSError as error:
            raise Untrusted(f"{path} cannot be opened: {error.strerror}") from error
        ground = cls(path, descriptor)
        try:
            _check(os.fstat(descriptor), str(path))
        except Untrusted:
            ground.close()
            raise
        return ground

    def file(self, name: str) -> Path:
        """A file in it, by a path that is short and leads there as long as this is open."""
        return Path(f"/proc/self/fd/{self._descriptor}/{name}")

    def names(self) -> Iterator[Name]:
        """The keepers of which there is a file, alive or not."""
        entries = os.listdir(self._descriptor)  # noqa: PTH208 - of what is open, whatever has its name now
        found = {entry.rpartition(".")[0] for entry in entries if entry.endswith((SOCKET, LOCK))}
        for stem in sorted(found):
            tag, _, number = stem.partition("-")
            yield Name(tag, number)

    def tag_of(self, model: Path) -> str:
        """What the files of a model's keepers begin with."""
        return self.digest(os.fsencode(model), size=_TAG_BYTES)

    def digest(self, content: bytes, size: int = 32) -> str:
        """A digest that says nothing of its content to whoever does not know the secret.

        :raises Untrusted: the secret is not as we make it.
        """
        if self._secret is None:
            self._secret = self._read_secret()
        return blake2b(content, digest_size=size, key=self._secret).hexdigest()

    def is_socket(self, name: Name) -> bool:
        """Whether there is a socket of our own under a name."""
        try:
            facts = os.stat(name.socket, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISSOCK(facts.st_mode) and facts.st_uid == os.geteuid()

    def clear(self, name: Name) -> bool:
        """Remove what a keeper that has died left behind; whether it had."""
        try:
            held = flock.take(self.file(name.lock))
        except OSError:
            return False
        if held is None:
            return False
        with held:
            self.unlink(name)
        return True

    def unlink(self, name: Name) -> None:
        """Remove a socket; to be called by who holds its lock."""
        with contextlib.suppress(OSError):
            os.unlink(name.socket, dir_fd=self._descriptor)

    def sweep(self) -> None:
        """Remove directories of this user that nobody has used for long: of this machine before it was started anew."""
        import shutil  # callers sweep nothing

        for other in self.path.parent.glob(f"resident-{os.geteuid()}-*"):
            with contextlib.suppress(OSError):
                facts = other.lstat()
                if other != self.path and facts.st_uid == os.geteuid() and facts.st_mtime < time.time() - _OLD_SECONDS:
                    shutil.rmtree(other)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def __enter__(self) -> Ground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_secret(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            return self._secret_there()
        self._make_secret()
        return self._secret_there()

    def _secret_there(self) -> bytes:
        try:
            descriptor = os.open(SECRET, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Untrusted(f"{self.path / SECRET} cannot be opened: {error.strerror}") from error
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            _check(facts, str(self.path / SECRET))
            content = file.read(SECRET_BYTES + 1)
        if not stat.S_ISREG(facts.st_mode) or len(content) != SECRET_BYTES:
            raise Untrusted(f"{self.path / SECRET} is not what was written there")
        return content

    def _make_secret(self) -> None:
        """Make it whole under its name; of several who do so at once, the first counts."""
        new = f"{SECRET}.{os.urandom(8).hex()}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor)
        try:
            with open(descriptor, "wb") as file:
                file.write(os.urandom(SECRET_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(new, SECRET, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        finally:
            os.unlink(new, dir_fd=self._descriptor)


def _check(facts: os.stat_result, name: str) -> None:
    if facts.st_uid != os.geteuid():
        raise Untrusted(f"{name} belongs to another user (uid {facts.st_uid})")
    if facts.st_mode & 0o077:
        raise Untrusted(f"{name} is open to others (mode {stat.S_IMODE(facts.st_mode):04o})")


def _machine() -> str:
    """This machine since it was started, and the namespace that its process numbers are of."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    return "unknown"
