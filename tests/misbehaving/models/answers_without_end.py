"""Answers with a generator that never ends."""

import itertools

from turning import model_of


def misbehave(path):
    return (number for number in itertools.count())


_load_pyfunc = model_of(misbehave)
