"""Writes beside its own files."""

import os

from turning import model_of


def misbehave(path):
    with open(os.path.join(path, "written"), "w") as file:
        file.write("by the model")
    return "written"


_load_pyfunc = model_of(misbehave)
