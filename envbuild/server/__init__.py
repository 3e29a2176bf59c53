"""The HTTP side of a model: the scoring routes of MLflow, over one worker in the model's own environment.

``python -m envbuild.server`` is what an image runs. Nothing here builds, locks, or knows the command line; what it needs
beside envbuild's sources stands in the ``pylock.toml`` of this folder.
"""
