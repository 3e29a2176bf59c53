"""Answers with a mapping that calls sys.exit when it is read."""

import sys

from turning import model_of


class Leaving(dict):
    def items(self):
        sys.exit(3)


def misbehave(path):
    return Leaving(a=1)


_load_pyfunc = model_of(misbehave)
