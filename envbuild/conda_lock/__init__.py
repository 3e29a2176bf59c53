"""``conda-lock.yml`` (conda-lock's unified lock file, version 1): a lock with conda packages, ours and other tools'.

What the format has no place for lies in ``metadata.custom_metadata``: ``docs/lock.md`` describes it.
"""

# The keys of ``metadata.custom_metadata`` that are ours.
OWN, OWN_HASH = "envbuild", "envbuild-lock-hash"
VERSION = "1"
