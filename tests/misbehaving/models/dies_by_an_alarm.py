"""Sets an alarm that nobody handles."""

import signal
import time

from turning import model_of


def misbehave(path):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(1000)


_load_pyfunc = model_of(misbehave)
