"""Asks a process that multiprocessing starts anew."""

import multiprocessing

from turning import model_of


def misbehave(path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(abs, [-1, -2])


_load_pyfunc = model_of(misbehave)
