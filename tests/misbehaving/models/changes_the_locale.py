"""Changes the locale, and the collector of garbage."""

import gc
import locale

from turning import model_of


def misbehave(path):
    locale.setlocale(locale.LC_ALL, "C")
    gc.disable()
    return 0.5


_load_pyfunc = model_of(misbehave)
