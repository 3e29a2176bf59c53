"""Becomes a shell that prints and exits."""

import os

from turning import model_of


def misbehave(path):
    os.execv("/bin/sh", ["sh", "-c", "echo hello; exit 5"])


_load_pyfunc = model_of(misbehave)
