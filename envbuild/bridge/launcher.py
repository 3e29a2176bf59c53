"""Launcher: what a worker's process does before it becomes the worker, where it is to be limited or confined.

A script of the standard library alone, which the host's own Python runs as ``PYTHON -I -S launcher.py PLAN ARGV...``.
It never becomes another process: its pid, parent, group and pipes are the worker's afterwards. ``PLAN`` is JSON:

``host``        the pid of the host, which must be the parent
``protocol``    the version that frames have
``cgroup``      the file that the process enters a control group by, or null
``data``        the bytes that each process may have for data (``RLIMIT_DATA``), or null
``network``     false: a network of its own, in which there is nothing but loopback
``read_only``   paths that cannot be written, with all that is mounted below them
``writable``    paths below those that can
``bubblewrap``  the path of bwrap, which does the confining in place of this script, or null

The word ``@parent`` in ``ARGV`` becomes the pid of the worker's parent. What fails is said as a worker says it: one
frame ``failed`` with the id 0 on standard output.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from fcntl import ioctl
from typing import Any, NoReturn

EXIT_NOT_LAUNCHED = 4
PARENT = "@parent"
NEW_MOUNTS, NEW_USER, NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
# A mount keeps these when it becomes read-only; in a user namespace the kernel insists on it.
_KEPT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITIES_3 = 0x20080522
# Files could be opened by their handles, past all mounts.
_READ_SEARCH = {"CAP_DAC_READ_SEARCH": 2}
# With one of these root could undo what was done.
_DROPPED = {
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_MKNOD": 27,
    "CAP_MAC_ADMIN": 33,
}
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Do what the plan says, and become the worker."""
    plan, argv = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        _limit(plan)
        if plan["bubblewrap"]:
            argv = [*_bubblewrap(plan), *argv]
        elif not plan["network"] or plan["read_only"]:
            _confine(plan)
    except OSError as error:
        _fail(plan, "confinement-unavailable", f"the worker cannot be confined: {error}")
    if os.getppid() != plan["host"]:  # it died meanwhile
        sys.exit(EXIT_NOT_LAUNCHED)
    parent = os.getpid() if plan["bubblewrap"] else plan["host"]
    # Python ignores these for itself, and what it becomes would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(argv[0], [str(parent) if word == PARENT else word for word in argv])  # noqa: S606 - no shell is the point
    except OSError as error:
        _fail(plan, "command-not-started", f"the environment's Python cannot be started: {argv[0]}: {error.strerror}")


def _fail(plan: dict[str, Any], code: str, message: str) -> NoReturn:
    body = json.dumps({"code": code, "message": message}).encode()
    header = {"protocol": plan["protocol"], "id": 0, "verb": "failed", "content_type": "application/json"}
    os.write(1, json.dumps({**header, "length": len(body)}).encode() + b"\n" + body)
    sys.exit(EXIT_NOT_LAUNCHED)


def _limit(plan: dict[str, Any]) -> None:
    if plan["cgroup"]:
        _write(plan["cgroup"], "0")
    if plan["data"]:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (plan["data"], plan["data"]))


def _bubblewrap(plan: dict[str, Any]) -> list[str]:
    argv = [plan["bubblewrap"], "--dev-bind", "/", "/", "--die-with-parent"]
    if not plan["network"]:
        argv.append("--unshare-net")
    for path in plan["read_only"]:
        argv += ["--ro-bind", path, path]
    for path in plan["writable"]:
        argv += ["--bind", path, path]
    if os.geteuid() == 0:  # others have no capabilities after it
        for name in _dropped(plan):
            argv += ["--cap-drop", name]
    return [*argv, "--"]


def _confine(plan: dict[str, Any]) -> None:
    """Take leave of the host's network and mounts.

    :raises OSError: the kernel refuses it; the message says what.
    """
    _unshare((0 if plan["network"] else NEW_NETWORK) | (NEW_MOUNTS if plan["read_only"] else 0))
    if not plan["network"]:
        _raise_loopback()
    if plan["read_only"]:
        _protect(plan["read_only"], plan["writable"])
    _give_up(_dropped(plan).values())


def _dropped(plan: dict[str, Any]) -> dict[str, int]:
    return {**_DROPPED, **_READ_SEARCH} if plan["read_only"] else _DROPPED


def _unshare(flags: int) -> None:
    """As who may do it by right, else in a user namespace with the same user and group."""
    user, group = os.geteuid(), os.getegid()
    if _LIBC.unshare(flags) == 0:
        return
    if _LIBC.unshare(flags | NEW_USER) != 0:
        raise _error("namespaces are refused")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        _write(f"/proc/self/{name}", text)


def _raise_loopback() -> None:
    """Programs that talk to themselves, as Spark does, need it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", ioctl(any_socket, _GET_FLAGS, request), 16)
        ioctl(any_socket, _SET_FLAGS, struct.pack("16sH22x", b"lo", flags | _UP))


def _protect(read_only: Sequence[str], writable: Sequence[str]) -> None:
    _mount(None, "/", MS_REC | MS_PRIVATE)
    for path in (*writable, *read_only):
        _mount(path, path, MS_BIND | MS_REC)
    for path, flags in list(_mounts()):
        if _lies_in(path, read_only) and not _lies_in(path, writable):
            _mount(None, path, MS_BIND | MS_REMOUNT | MS_RDONLY | flags)
    try:
        # The directory that we are in is the one below the new mounts until it is entered again.
        os.chdir(os.getcwd())  # noqa: PTH109 - pathlib takes its time to import
    except FileNotFoundError:  # it was removed, and nothing can be written there
        return


def _mounts() -> Iterator[tuple[str, int]]:
    """Every mount, with the flags that it keeps."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            path = fields[4]
            for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
                path = path.replace(code, character)
            yield path, sum(_KEPT.get(word, 0) for word in fields[5].split(","))


def _lies_in(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(place + os.sep) for place in places)


def _mount(source: str | None, target: str, flags: int) -> None:
    given = None if source is None else os.fsencode(source)
    if _LIBC.mount(given, os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
        raise _error(f"mounting {target} is refused")


def _give_up(dropped: Collection[int]) -> None:
    """Keep what comes after us, root as well, from undoing it."""
    if _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _error("no-new-privileges is refused")
    for number in dropped:
        # A kernel that does not know a capability cannot give it either.
        if _LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0 and ctypes.get_errno() != errno.EINVAL:
            raise _error("giving up capabilities is refused")
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits of each
    if _LIBC.capget(header, sets) != 0:
        raise _error("reading capabilities is refused")
    for number in dropped:
        sets[2 + 3 * (number // 32)] &= ~(1 << number % 32)
    if _LIBC.capset(header, sets) != 0:
        raise _error("giving up capabilities is refused")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _error(what: str) -> OSError:
    return OSError(f"{what} ({os.strerror(ctypes.get_errno())})")


if __name__ == "__main__":
    main()
