"""Sends SIGSTOP to its parent."""

import os
import signal

from turning import model_of


def misbehave(path):
    os.kill(os.getppid(), signal.SIGSTOP)
    return "stopped"


_load_pyfunc = model_of(misbehave)
