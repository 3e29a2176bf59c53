"""Answers with a text that is no Unicode."""

from turning import model_of


def misbehave(path):
    return "half \ud83d of a face"


_load_pyfunc = model_of(misbehave)
