"""Opens as many files as it may, and keeps them open."""

import os

from turning import model_of

KEPT = []


def misbehave(path):
    while True:
        try:
            KEPT.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return "kept"


_load_pyfunc = model_of(misbehave)
