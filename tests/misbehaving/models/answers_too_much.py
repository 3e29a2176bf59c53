"""Answers with 50 megabytes, where a megabyte is allowed."""

from turning import model_of


def misbehave(path):
    return "x" * 50000000


_load_pyfunc = model_of(misbehave)
