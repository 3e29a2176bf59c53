"""Has the system forget its children, and runs some."""

import signal
import subprocess

from turning import model_of


def misbehave(path):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return subprocess.call(["/bin/true"])


_load_pyfunc = model_of(misbehave)
