"""Compiling: byte code of Python sources, for the host's store; a program of its own, run as ``PYTHON -I -S <this>``.

Standard input holds one JSON list a line: the source, where its byte code goes, and the name that it is compiled
under. From CPython 3.7 on the byte code is hash-based and unchecked (PEP 552): the same bytes whenever it is made, and
Python never looks at the source to see whether it fits. Before, it names the time that the host gave the source.
What does not compile (the Python 2 that some wheels carry) has no byte code. ``py_compile`` does the same in twice the
time.
"""

import importlib.util
import json
import marshal
import os
import struct
import sys
import warnings

READABLE = 0o444
# The exit status that says: standard output holds what the system said, as [errno, strerror, filename].
SYSTEM_ERROR = 9
_UNCHECKED_HASH = 1


def main() -> None:
    """Compile what standard input names."""
    warnings.simplefilter("ignore")
    folders = set()
    for line in sys.stdin:
        source, target, shown = json.loads(line)
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
    try:
        main()
    except OSError as error:
        json.dump([error.errno, error.strerror, error.filename], sys.stdout)
        sys.exit(SYSTEM_ERROR)
