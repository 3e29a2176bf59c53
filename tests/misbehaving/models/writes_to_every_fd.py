"""Writes to every file that it has, the channel to the host as well."""

import os

from turning import model_of


def misbehave(path):
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            os.write(int(name), b"noise everywhere\n")
        except OSError:
            pass
    return "written"


_load_pyfunc = model_of(misbehave)
