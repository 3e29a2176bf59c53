"""Removes all environment variables."""

import os

from turning import model_of


def misbehave(path):
    os.environ.clear()
    return "cleared"


_load_pyfunc = model_of(misbehave)
