"""Raises an exception that is its cause's cause."""

from turning import model_of


def misbehave(path):
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    raise one


_load_pyfunc = model_of(misbehave)
