"""Leaves a pool of processes at work."""

import multiprocessing
import time

from turning import model_of

POOLS = []


def misbehave(path):
    POOLS.append(multiprocessing.get_context("fork").Pool(3))
    POOLS[0].map_async(time.sleep, [1000] * 3)
    return "left"


_load_pyfunc = model_of(misbehave)
