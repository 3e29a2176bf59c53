"""Calls C's abort."""

import ctypes

from turning import model_of


def misbehave(path):
    ctypes.CDLL(None).abort()


_load_pyfunc = model_of(misbehave)
