"""Reads from address 0 while it is loaded."""

import ctypes

ctypes.string_at(0)
