"""Removes its home and the place for its temporary files."""

import os
import shutil

from turning import model_of


def misbehave(path):
    shutil.rmtree(os.environ["HOME"])
    shutil.rmtree(os.environ["TMPDIR"])
    return "removed"


_load_pyfunc = model_of(misbehave)
