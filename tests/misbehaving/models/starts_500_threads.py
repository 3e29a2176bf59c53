"""Starts 500 threads that sleep."""

import threading
import time

from turning import model_of


def misbehave(path):
    for _ in range(500):
        threading.Thread(target=time.sleep, args=(1000000,)).start()
    return "started"


_load_pyfunc = model_of(misbehave)
