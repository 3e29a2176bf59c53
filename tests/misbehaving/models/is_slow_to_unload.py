"""Takes long when it is deleted, and when Python ends."""

import atexit
import time


class Slow:
    def predict(self, data):
        return data["input"]

    def __del__(self):
        time.sleep(1000)


def _load_pyfunc(path):
    atexit.register(time.sleep, 1000)
    return Slow()
