"""Forks a daemon: twice, with a session of its own."""

import os
import time

from turning import model_of


def misbehave(path):
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return "forked"
    os.setsid()
    if os.fork():
        os._exit(0)
    while True:
        time.sleep(1000)


_load_pyfunc = model_of(misbehave)
