"""Adopts its orphans itself, and asks not to die with its parent."""

import ctypes
import os
import time

from turning import model_of


def misbehave(path):
    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)
    prctl(1, 0, 0, 0, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return "adopted"


_load_pyfunc = model_of(misbehave)
