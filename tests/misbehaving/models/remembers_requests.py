"""Answers with how often it was asked: a worker is one process for all requests."""

from turning import model_of

ASKED = []


def misbehave(path):
    ASKED.append(1)
    return len(ASKED)


_load_pyfunc = model_of(misbehave)
