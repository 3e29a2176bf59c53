"""Raises GeneratorExit, which is no Exception."""

from turning import model_of


def misbehave(path):
    raise GeneratorExit("odd")


_load_pyfunc = model_of(misbehave)
