"""Has every further import fail, and empties sys.path."""

import sys

from turning import model_of


class Broken:
    def find_spec(self, name, path=None, target=None):
        raise RuntimeError("no imports")


def misbehave(path):
    sys.meta_path.insert(0, Broken())
    sys.path[:] = []
    return "broken"


_load_pyfunc = model_of(misbehave)
