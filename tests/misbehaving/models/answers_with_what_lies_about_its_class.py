"""Answers with an object that says it is a dict."""

from turning import model_of


class Liar:
    __class__ = dict


def misbehave(path):
    return Liar()


_load_pyfunc = model_of(misbehave)
