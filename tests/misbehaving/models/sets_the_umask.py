"""Takes all rights from the files that it makes."""

import os
import tempfile

from turning import model_of


def misbehave(path):
    os.umask(0o777)
    os.mkdir(os.path.join(tempfile.gettempdir(), "folder"))
    return "set"


_load_pyfunc = model_of(misbehave)
