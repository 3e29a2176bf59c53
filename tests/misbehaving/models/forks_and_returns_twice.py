"""Forks, and lets its child come back from predict too."""

import os

from turning import model_of


def misbehave(path):
    os.fork()
    return "once"


_load_pyfunc = model_of(misbehave)
