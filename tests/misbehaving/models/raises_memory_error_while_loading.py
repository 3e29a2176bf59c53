"""Raises MemoryError while it is loaded."""

DATA = bytearray(1 << 60)
