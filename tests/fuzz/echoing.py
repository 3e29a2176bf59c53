"""A model that answers with its input."""


def _load_pyfunc(path):
    return lambda data, params=None: data
