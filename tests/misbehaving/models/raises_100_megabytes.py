"""Raises an exception with a text of 100 megabytes."""

from turning import model_of


def misbehave(path):
    raise ValueError("word " * 20000000)


_load_pyfunc = model_of(misbehave)
