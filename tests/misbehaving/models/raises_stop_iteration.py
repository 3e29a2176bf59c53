"""Raises StopIteration."""

from turning import model_of


def misbehave(path):
    raise StopIteration("odd")


_load_pyfunc = model_of(misbehave)
