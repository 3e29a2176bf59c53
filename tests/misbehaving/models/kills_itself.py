"""Sends itself SIGKILL."""

import os
import signal

from turning import model_of


def misbehave(path):
    os.kill(os.getpid(), signal.SIGKILL)


_load_pyfunc = model_of(misbehave)
