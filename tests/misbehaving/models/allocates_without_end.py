"""Takes memory without end, where the system gives half a gigabyte at most."""

import resource

from turning import model_of


def misbehave(path):
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, resource.RLIM_INFINITY))
    taken = []
    while True:
        taken.append(bytearray(1 << 22))


_load_pyfunc = model_of(misbehave)
