"""Calls os._exit(0)."""

import os

from turning import model_of


def misbehave(path):
    os._exit(0)


_load_pyfunc = model_of(misbehave)
