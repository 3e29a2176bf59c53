"""Calls sys.exit while it is loaded."""

import sys

sys.exit("no licence")
