"""Leaves a child that inherited all its files."""

import os
import subprocess
import time

from turning import model_of


def misbehave(path):
    subprocess.Popen(["/bin/sleep", "1000"], close_fds=False)
    if os.fork() == 0:
        time.sleep(1000)
    return "left"


_load_pyfunc = model_of(misbehave)
