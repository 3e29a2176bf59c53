"""Changes to another working directory."""

import os

from turning import model_of


def misbehave(path):
    os.chdir("/proc/self/fd")
    return "changed"


_load_pyfunc = model_of(misbehave)
