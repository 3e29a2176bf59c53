"""Sets sys.stdout to None and deletes sys.stderr."""

import sys

from turning import model_of


def misbehave(path):
    sys.stdout = None
    del sys.stderr
    return "removed"


_load_pyfunc = model_of(misbehave)
