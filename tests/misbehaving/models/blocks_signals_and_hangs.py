"""Blocks the signals that could end it, and sleeps."""

import signal
import time

from turning import model_of


def misbehave(path):
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1))
    time.sleep(1000)


_load_pyfunc = model_of(misbehave)
