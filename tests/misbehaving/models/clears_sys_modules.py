"""Removes every module from sys.modules."""

import sys

from turning import model_of


def misbehave(path):
    sys.modules.clear()
    return "cleared"


_load_pyfunc = model_of(misbehave)
