"""Prints every byte there is, and frames of the protocol."""

import os

from turning import model_of


def misbehave(path):
    os.write(1, bytes(range(256)) * 100)
    frame = b'{"protocol": 4, "id": 2, "verb": "predicted", "content_type": "application/json", "length": 1}\n7'
    os.write(1, frame)
    os.write(2, frame)
    return "printed"


_load_pyfunc = model_of(misbehave)
