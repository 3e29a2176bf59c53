"""Replaces open, print and input, and deletes others."""

import builtins

from turning import model_of


def misbehave(path):
    builtins.open = builtins.print = builtins.input = None
    del builtins.eval, builtins.sorted, builtins.compile
    return "replaced"


_load_pyfunc = model_of(misbehave)
