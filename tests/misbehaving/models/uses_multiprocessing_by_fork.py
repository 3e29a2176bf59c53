"""Asks two forked processes."""

import multiprocessing

from turning import model_of


def misbehave(path):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2])


_load_pyfunc = model_of(misbehave)
