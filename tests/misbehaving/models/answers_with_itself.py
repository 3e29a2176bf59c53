"""Answers with a list that holds itself."""

from turning import model_of


def misbehave(path):
    answer = [1]
    answer.append(answer)
    return answer


_load_pyfunc = model_of(misbehave)
