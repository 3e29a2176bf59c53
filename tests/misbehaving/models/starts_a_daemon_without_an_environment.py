"""Starts a program in a session of its own, with neither the worker's variables nor its parent."""

import subprocess

from turning import model_of


def misbehave(path):
    subprocess.call(["/bin/sh", "-c", "sleep 1000 &"], env={}, start_new_session=True)
    return "started"


_load_pyfunc = model_of(misbehave)
