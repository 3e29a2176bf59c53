"""The HTTP side of a model: the routes of each protocol, over a crew of workers in the model's own environment.

``envbuild serve`` runs it on a host, and ``python -m envbuild.server`` in an image. Nothing here builds, locks, or knows
the command line; what an image needs beside envbuild's sources stands in the ``pylock.toml`` of this folder.
"""
