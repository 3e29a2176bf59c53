"""Sleeps in C without letting go of Python's lock."""

import ctypes

from turning import model_of


def misbehave(path):
    ctypes.PyDLL(None).sleep(1000)


_load_pyfunc = model_of(misbehave)
