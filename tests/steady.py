"""The same draws for the same seed: imported for its effect.

Hypothesis draws some values from the constants of all local modules that are imported, and so draws others when other
tests run beside. With a fixed seed in CI what is drawn must depend on the test alone.
"""

from __future__ import annotations

from hypothesis.internal.conjecture import providers

_NONE = providers.Constants()
assert callable(providers._get_local_constants)
providers._get_local_constants = lambda: _NONE
