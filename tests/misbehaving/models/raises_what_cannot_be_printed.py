"""Raises an exception whose text raises another."""

from turning import model_of


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def misbehave(path):
    raise Silent


_load_pyfunc = model_of(misbehave)
