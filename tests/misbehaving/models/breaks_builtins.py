"""Replaces len and isinstance by what raises."""

import builtins

from turning import model_of


def misbehave(path):
    builtins.len = builtins.isinstance = None
    return "replaced"


_load_pyfunc = model_of(misbehave)
