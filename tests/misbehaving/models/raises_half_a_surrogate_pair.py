"""Raises an exception whose text is no Unicode."""

from turning import model_of


def misbehave(path):
    raise ValueError("half \ud83d of a face")


_load_pyfunc = model_of(misbehave)
