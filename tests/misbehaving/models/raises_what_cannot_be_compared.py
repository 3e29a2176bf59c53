"""Raises an exception that can be neither hashed nor compared."""

from turning import model_of


class Incomparable(Exception):
    __hash__ = None

    def __eq__(self, other):
        raise TypeError("not comparable")


def misbehave(path):
    raise Incomparable("some words")


_load_pyfunc = model_of(misbehave)
