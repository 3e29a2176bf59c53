"""Raises MemoryError."""

from turning import model_of


def misbehave(path):
    return bytearray(1 << 60)


_load_pyfunc = model_of(misbehave)
