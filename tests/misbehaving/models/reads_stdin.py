"""Reads its standard input to the end."""

import sys

from turning import model_of


def input_or_nothing():
    try:
        return input()
    except EOFError:
        return "nothing"


def misbehave(path):
    return sys.stdin.read() + input_or_nothing()


_load_pyfunc = model_of(misbehave)
