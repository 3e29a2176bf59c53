"""Leaves 100 megabytes in 1000 temporary files, in directories that nobody may enter."""

import os
import tempfile

from turning import model_of


def misbehave(path):
    for _ in range(10):
        folder = tempfile.mkdtemp()
        for number in range(100):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(b"x" * 100000)
        os.chmod(folder, 0)
    return "filled"


_load_pyfunc = model_of(misbehave)
