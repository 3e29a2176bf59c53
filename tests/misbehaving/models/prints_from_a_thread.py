"""Prints from a thread while it answers, and for ever after."""

import threading

from turning import model_of


def print_on():
    while True:
        print("noise from a thread" * 100)


def misbehave(path):
    threading.Thread(target=print_on, daemon=True).start()
    return "printing"


_load_pyfunc = model_of(misbehave)
