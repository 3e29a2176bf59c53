"""Takes a session of its own, and leaves a child there."""

import os
import time

from turning import model_of


def misbehave(path):
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    return "gone"


_load_pyfunc = model_of(misbehave)
