"""Prints 50 megabytes in one line."""

import sys

from turning import model_of


def misbehave(path):
    sys.stdout.write("x" * 50000000)
    return "printed"


_load_pyfunc = model_of(misbehave)
