"""Sends SIGKILL to its process group."""

import os
import signal

from turning import model_of


def misbehave(path):
    os.kill(0, signal.SIGKILL)


_load_pyfunc = model_of(misbehave)
