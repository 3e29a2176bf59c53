"""Allows itself to open nothing any more."""

import resource

from turning import model_of


def misbehave(path):
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    return "set"


_load_pyfunc = model_of(misbehave)
