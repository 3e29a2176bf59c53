"""Calls itself through C without end, and allows itself to."""

import ctypes
import sys

from turning import model_of


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
def CALL(number):
    return CALL(number + 1)


def misbehave(path):
    sys.setrecursionlimit(1000000000)
    return CALL(1)


_load_pyfunc = model_of(misbehave)
