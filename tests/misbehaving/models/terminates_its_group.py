"""Sends SIGTERM to its process group."""

import os
import signal

from turning import model_of


def misbehave(path):
    os.kill(0, signal.SIGTERM)


_load_pyfunc = model_of(misbehave)
