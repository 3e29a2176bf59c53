"""Ignores every signal that can be ignored, and sleeps."""

import signal
import time

from turning import model_of


def misbehave(path):
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    time.sleep(1000)


_load_pyfunc = model_of(misbehave)
