"""This machine as tests look at it: its processes, and ports that are free."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def arguments() -> Iterator[tuple[int, str]]:
    """The processes that run, and the arguments of each."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                yield int(entry.name), Path(entry.path, "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue


@contextmanager
def watched(is_wanted: Callable[[str], bool]) -> Iterator[list[str]]:
    """The arguments of all processes meanwhile, as far as they are wanted."""
    seen, looked, over = list[str](), [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            looked[0] += 1
            seen.extend(text for _, text in arguments() if is_wanted(text))
            over.wait(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        assert looked[0] > 1
