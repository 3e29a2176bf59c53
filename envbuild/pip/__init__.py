"""pip, pip-tools and virtualenv: where they are and how they are run.

pip is the model's own: the very version that its files name, under its own Python. It is run in a virtualenv that is
made for it once and kept, and its only index is a :class:`~envbuild.dated_index.index.DatedIndex` on this machine.
"""
