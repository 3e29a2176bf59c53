"""Prints with C's printf, and leaves some of it in C's buffer."""

import ctypes

from turning import model_of


def misbehave(path):
    libc = ctypes.CDLL(None)
    for _ in range(100000):
        libc.printf(b"noise from C\n")
    libc.printf(b"no end of line")
    return "printed"


_load_pyfunc = model_of(misbehave)
