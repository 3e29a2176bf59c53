"""A container of ours: filled, run, read out, and removed with everything in it when its ``with`` statement is left."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from envbuild.errors import BaseImageUnusable
from envbuild.images.daemon_errors import explained


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """How a container is made."""

    image: str
    command: Sequence[str]
    user: str = "0:0"
    network: str | None = None
    """``None``: without any network."""
    mounts: Mapping[Path, str] = field(default_factory=dict)
    """Directories of this machine by where they are seen inside."""
    memory_directories: Sequence[str] = ()
    """Directories inside that lie in memory and go with the container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a container's program ended: its exit status, and the end of what it wrote to standard error."""

    status: int
    stderr: str


class Container(contextlib.AbstractContextManager["Container"]):
    """A container of ours; removed with all that was written in it when its ``with`` statement is left."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._id = name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError, OSError):
            self._client.remove_container(self._id, force=True, v=True)

    def put(self, folder: str, archive: IO[bytes]) -> None:
        """Unpack a tar below a directory of the container."""
        with explained():
            self._client.put_archive(self._id, folder, archive)

    def get(self, path: str, file: IO[bytes]) -> bool:
        """Write a path of the container as a tar to a file; whether there is such a path."""
        from docker.errors import NotFound

        with explained():
            try:
                blocks, _ = self._client.get_archive(self._id, path, chunk_size=2**20)
            except NotFound:
                return False
            for block in blocks:
                file.write(block)
        file.seek(0)
        return True

    def stream(self, path: str) -> IO[bytes]:
        """A path of the container as a tar, to be read once."""
        with explained():
            blocks, _ = self._client.get_archive(self._id, path, chunk_size=2**20)
        return cast("IO[bytes]", _Blocks(blocks))

    def export(self, file: IO[bytes]) -> None:
        """Write the whole file system as a tar to a file."""
        with explained():
            for block in self._client.export(self._id, chunk_size=2**20):
                file.write(block)
        file.seek(0)

    def changes(self) -> Mapping[str, int]:
        """The paths that differ from the image's: 0 changed, 1 added, 2 deleted."""
        with explained():
            return {entry["Path"]: int(entry["Kind"]) for entry in self._client.diff(self._id) or ()}

    def run(self, stdin: bytes, on_line: Callable[[str], None]) -> Ended:
        """Start its program, give it its standard input, and wait for its end.

        :param on_line: called with each line that it writes to standard output.
        :raises BaseImageUnusable: the program cannot be started in this image.
        """
        stderr: list[bytes] = []
        with explained():
            output = self._client.attach(self._id, stdout=True, stderr=True, stream=True, demux=True, logs=False)
            pipe = self._client.attach_socket(self._id, params={"stdin": 1, "stream": 1})
            try:
                self._start()
                _feed(pipe, stdin)
                _read(output, on_line, stderr)
                status = int(self._client.wait(self._id)["StatusCode"])
            finally:
                _close(output, pipe)
        return Ended(status=status, stderr=b"".join(stderr)[-20000:].decode("utf-8", "replace"))

    def _start(self) -> None:
        from docker.errors import APIError

        try:
            self._client.start(self._id)
        except APIError as error:
            words = str(error.explanation or error)
            if "exec format error" in words or "no such file or directory" in words:
                raise BaseImageUnusable(
                    f"a container of this image cannot start: {words[:300]}",
                    hint="is it for this machine's architecture, and has it glibc?",
                ) from error
            raise


class _Blocks:
    """What comes block by block, as a file that is read from its beginning."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._left = b""

    def read(self, size: int) -> bytes:
        """The next bytes; fewer only at the end."""
        parts, wanted = [self._left[:size]], size - len(self._left)
        self._left = self._left[size:]
        while wanted > 0 and (block := next(self._blocks, b"")):
            parts.append(block[:wanted])
            self._left = block[wanted:]
            wanted -= len(block)
        return b"".join(parts)


def _close(output: Any, pipe: Any) -> None:
    """Close both connections, down to their sockets: the SDK would leave that to whoever collects garbage."""
    with contextlib.suppress(ValueError, OSError):
        output.close()
    for part in (
        getattr(output, "_response", None),
        getattr(pipe, "_response", None),
        pipe,
        getattr(pipe, "_sock", None),
    ):
        # Each may have closed the next already.
        if part is not None:
            with contextlib.suppress(ValueError, OSError):
                part.close()


def _feed(pipe: Any, data: bytes) -> None:
    connection = getattr(pipe, "_sock", pipe)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _read(
    output: Iterable[tuple[bytes | None, bytes | None]], on_line: Callable[[str], None], stderr: list[bytes]
) -> None:
    left = b""
    for out, err in output:
        if err:
            stderr.append(err)
        *lines, left = (left + (out or b"")).split(b"\n")
        for line in lines:
            on_line(line.decode("utf-8", "replace"))


@contextlib.contextmanager
def spooled() -> Iterator[IO[bytes]]:
    """A nameless file for what a daemon sends."""
    with tempfile.TemporaryFile(prefix="envbuild-image-") as file:
        yield file
