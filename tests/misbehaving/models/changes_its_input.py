"""Changes its input, and answers with it."""


def _load_pyfunc(path):
    return change


def change(data):
    value = data.pop("input")
    data.clear()
    return "changed" if value == "misbehave" else value
