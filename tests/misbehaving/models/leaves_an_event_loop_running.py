"""Leaves an asyncio loop running in a thread."""

import asyncio
import threading

from turning import model_of


def misbehave(path):
    threading.Thread(target=asyncio.new_event_loop().run_forever).start()
    return "left"


_load_pyfunc = model_of(misbehave)
