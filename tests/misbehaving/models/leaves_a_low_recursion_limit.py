"""Leaves hardly any depth of calls to others."""

import sys

from turning import model_of


def misbehave(path):
    for limit in range(1, 100):
        try:
            sys.setrecursionlimit(limit)
            return "left"
        except RecursionError:
            pass


_load_pyfunc = model_of(misbehave)
