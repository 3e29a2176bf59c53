"""Replaces os.write, os.getpid, os._exit and os.fstat."""

import os

from turning import model_of


def misbehave(path):
    os.write = os.getpid = os._exit = os.fstat = None
    return "replaced"


_load_pyfunc = model_of(misbehave)
