"""Prints at exit, and when it is deleted."""

import atexit

from turning import model_of


def misbehave(path):
    atexit.register(print, "noise at exit")
    return "registered"


_load_pyfunc = model_of(misbehave)
