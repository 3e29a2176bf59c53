"""Raises KeyboardInterrupt."""

from turning import model_of


def misbehave(path):
    raise KeyboardInterrupt


_load_pyfunc = model_of(misbehave)
