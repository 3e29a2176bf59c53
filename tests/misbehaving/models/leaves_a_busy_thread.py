"""Leaves a daemon thread that computes without end."""

import threading

from turning import model_of


def compute():
    while True:
        pass


def misbehave(path):
    threading.Thread(target=compute, daemon=True).start()
    return "left"


_load_pyfunc = model_of(misbehave)
