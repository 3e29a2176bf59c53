"""Removes the directory that it works in."""

import os
import tempfile

from turning import model_of


def misbehave(path):
    os.chdir(tempfile.mkdtemp())
    os.rmdir(os.getcwd())
    return "removed"


_load_pyfunc = model_of(misbehave)
