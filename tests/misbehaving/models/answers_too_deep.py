"""Answers with a list in a list, a hundred thousand times."""

from turning import model_of


def misbehave(path):
    answer = []
    for _ in range(100000):
        answer = [answer]
    return answer


_load_pyfunc = model_of(misbehave)
