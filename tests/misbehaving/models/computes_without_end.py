"""Computes without end."""

from turning import model_of


def misbehave(path):
    while True:
        pass


_load_pyfunc = model_of(misbehave)
