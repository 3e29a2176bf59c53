"""Sleeps when it is imported."""

import time

time.sleep(1000)
