"""Replaces sys.exit and the hooks for exceptions, and traces every call."""

import sys

from turning import model_of


def misbehave(path):
    sys.exit = sys.excepthook = sys.unraisablehook = None
    sys.settrace(lambda frame, event, argument: None)
    return "replaced"


_load_pyfunc = model_of(misbehave)
