"""Reads from address 0."""

import ctypes

from turning import model_of


def misbehave(path):
    return ctypes.string_at(0)


_load_pyfunc = model_of(misbehave)
