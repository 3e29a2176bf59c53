"""Leaves children that hold its files, and dies by SIGKILL."""

import os
import signal
import subprocess
import time

from turning import model_of


def misbehave(path):
    subprocess.Popen(["/bin/sleep", "1000"], close_fds=False)
    if os.fork() == 0:
        time.sleep(1000)
    os.kill(os.getpid(), signal.SIGKILL)


_load_pyfunc = model_of(misbehave)
