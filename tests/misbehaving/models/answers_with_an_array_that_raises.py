"""Answers with a numpy array that cannot be made a list."""

import numpy

from turning import model_of


class Odd(numpy.ndarray):
    def tolist(self):
        raise RuntimeError("no list")


def misbehave(path):
    return numpy.arange(3).view(Odd)


_load_pyfunc = model_of(misbehave)
