"""Raises an exception that says it is SystemExit."""

from turning import model_of


class Liar(Exception):
    __class__ = SystemExit


def misbehave(path):
    raise Liar("honest words")


_load_pyfunc = model_of(misbehave)
