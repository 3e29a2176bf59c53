"""Raises an exception whose class does not tell its name."""

from turning import model_of


class Hiding(type):
    @property
    def __name__(cls):
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=Hiding):
    pass


def misbehave(path):
    raise Nameless("some words")


_load_pyfunc = model_of(misbehave)
