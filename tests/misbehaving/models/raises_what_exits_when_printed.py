"""Raises an exception whose text calls sys.exit."""

import sys

from turning import model_of


class Leaving(Exception):
    def __str__(self):
        sys.exit(3)


def misbehave(path):
    raise Leaving


_load_pyfunc = model_of(misbehave)
