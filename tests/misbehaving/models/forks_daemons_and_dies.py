"""Forks ten daemons with sessions of their own, and ends without a word."""

import os
import time

from turning import model_of


def misbehave(path):
    for _ in range(10):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
    os._exit(9)


_load_pyfunc = model_of(misbehave)
