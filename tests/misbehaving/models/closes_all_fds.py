"""Closes every file that it has, the channel to the host as well."""

import os

from turning import model_of


def misbehave(path):
    os.closerange(0, 65536)
    return "closed"


_load_pyfunc = model_of(misbehave)
