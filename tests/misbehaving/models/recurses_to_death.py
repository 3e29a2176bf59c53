"""Calls itself without end."""

from turning import model_of


def misbehave(path):
    return misbehave(path)


_load_pyfunc = model_of(misbehave)
