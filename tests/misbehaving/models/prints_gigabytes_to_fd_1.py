"""Writes a gigabyte to fd 1."""

import os

from turning import model_of


def misbehave(path):
    for _ in range(1024):
        os.write(1, b"x" * (1 << 20))
    return "printed"


_load_pyfunc = model_of(misbehave)
