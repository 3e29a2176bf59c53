"""Forks, and lets its child come back from predict with an exception."""

import os

from turning import model_of


def misbehave(path):
    if os.fork() == 0:
        raise ValueError("in the child")
    return "once"


_load_pyfunc = model_of(misbehave)
