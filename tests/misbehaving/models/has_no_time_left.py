"""Allows itself one second of the processor, and takes more."""

import resource

from turning import model_of


def misbehave(path):
    resource.setrlimit(resource.RLIMIT_CPU, (1, 5))
    while True:
        pass


_load_pyfunc = model_of(misbehave)
