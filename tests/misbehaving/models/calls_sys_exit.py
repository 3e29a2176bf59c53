"""Calls sys.exit."""

import sys

from turning import model_of


def misbehave(path):
    sys.exit(3)


_load_pyfunc = model_of(misbehave)
