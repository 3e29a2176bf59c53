"""Takes a session of its own, and sleeps."""

import os
import time

from turning import model_of


def misbehave(path):
    os.setsid()
    time.sleep(1000)


_load_pyfunc = model_of(misbehave)
