"""Replaces json's functions."""

import json

from turning import model_of


def misbehave(path):
    json.dumps = json.loads = json.dump = json.load = None
    return "replaced"


_load_pyfunc = model_of(misbehave)
