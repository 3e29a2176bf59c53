"""Writes a gigabyte to fd 2."""

import os

from turning import model_of


def misbehave(path):
    for _ in range(1024):
        os.write(2, b"x" * (1 << 20))
    return "printed"


_load_pyfunc = model_of(misbehave)
