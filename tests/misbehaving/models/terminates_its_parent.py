"""Sends SIGTERM to its parent."""

import os
import signal
import time

from turning import model_of


def misbehave(path):
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(1000)


_load_pyfunc = model_of(misbehave)
