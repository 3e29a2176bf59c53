"""Leaves a thread that is no daemon and never ends."""

import threading
import time

from turning import model_of


def misbehave(path):
    threading.Thread(target=time.sleep, args=(1000000,)).start()
    return "left"


_load_pyfunc = model_of(misbehave)
