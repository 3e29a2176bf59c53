"""Raises an exception that cannot be pickled."""

from turning import model_of


class Locked(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.kept = (step for step in text)

    def __reduce__(self):
        raise TypeError("no copy")


def misbehave(path):
    raise Locked("some words")


_load_pyfunc = model_of(misbehave)
