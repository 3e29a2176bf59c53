"""Answers with a list that cannot be walked through."""

from turning import model_of


class Steps(list):
    def __iter__(self):
        raise RuntimeError("no steps")


def misbehave(path):
    return Steps([1, 2])


_load_pyfunc = model_of(misbehave)
