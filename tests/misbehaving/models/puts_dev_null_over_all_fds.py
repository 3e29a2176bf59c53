"""Puts /dev/null over every file that it has."""

import os

from turning import model_of


def misbehave(path):
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        try:
            os.dup2(nothing, int(name))
        except OSError:
            pass
    return "replaced"


_load_pyfunc = model_of(misbehave)
