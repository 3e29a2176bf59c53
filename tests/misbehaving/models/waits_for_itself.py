"""Waits for a lock that it holds."""

import threading

from turning import model_of


def misbehave(path):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


_load_pyfunc = model_of(misbehave)
