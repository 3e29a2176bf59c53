"""Compiling: byte code of Python sources, for the host's store; a program of its own.

Run as ``PYTHON -S -s <this> CHILDREN`` with ``PYTHONHASHSEED=0``. Standard input holds a JSON list a line, a chunk:
for each source the source itself, where its byte code goes, and the name that it is compiled under. Each chunk is
compiled by a forked child, ``CHILDREN`` of them at a time: byte code depends on what the process has compiled before it,
so that a chunk gives the same bytes only where nothing came before it. From CPython 3.7 on the byte code is
hash-based and unchecked (PEP 552): it names no time, and Python never looks at the source to see whether it fits.
Before, it names the time that the host gave the source. What does not compile (the Python 2 that some wheels carry) has
no byte code. ``py_compile`` does the same in twice the time.
"""

import importlib.util
import json
import marshal
import os
import signal
import struct
import sys
import warnings

READABLE = 0o444
# The exit status that says: standard output holds what the system said, as [errno, strerror, filename].
SYSTEM_ERROR = 9
_UNCHECKED_HASH = 1


def main() -> None:
    """Compile the chunks that standard input names."""
    # This folder is no place to import from.
    sys.path.pop(0)
    warnings.simplefilter("ignore")
    chunks = [json.loads(line) for line in sys.stdin]
    children = set()  # type: set[int]
    for chunk in chunks:
        if len(children) >= int(sys.argv[1]):
            _wait(children)
        pid = os.fork()
        if not pid:
            _compile_and_leave(chunk)
        children.add(pid)
    while children:
        _wait(children)


def _wait(children: "set[int]") -> None:
    """Wait for one of the children; end as it ended, if it failed."""
    pid, status = os.wait()
    children.discard(pid)
    if status:
        for other in children:
            os.kill(other, signal.SIGKILL)
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def _compile_and_leave(chunk: "list[list[str]]") -> None:
    status = 1
    try:
        _compile(chunk)
        status = 0
    except OSError as error:
        # One write, so that it is whole whatever another child says.
        os.write(1, json.dumps([error.errno, error.strerror, error.filename]).encode("ascii"))
        status = SYSTEM_ERROR
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _compile(chunk: "list[list[str]]") -> None:
    folders = set()
    for source, target, shown in chunk:
        with open(source, "rb") as file:
            text = file.read()
        try:
            code = compile(text, shown, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            continue
        folder = os.path.dirname(target)
        if folder not in folders:
            os.makedirs(folder, exist_ok=True)
            folders.add(folder)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, READABLE)
        with open(descriptor, "wb") as file:
            file.write(_header(source, text))
            file.write(marshal.dumps(code))


def _header(source: str, text: bytes) -> bytes:
    magic = importlib.util.MAGIC_NUMBER
    hashed = getattr(importlib.util, "source_hash", None)  # from CPython 3.7 on
    if hashed is not None:
        return magic + struct.pack("<L", _UNCHECKED_HASH) + bytes(hashed(text))
    return magic + struct.pack("<LL", int(os.stat(source).st_mtime), len(text) & 0xFFFFFFFF)


if __name__ == "__main__":
    main()
