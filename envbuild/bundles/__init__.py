"""Bundles: a model, its locks and all the files that they name, in one file that needs no network (``docs/bundles.md``).

``manifest``      what is in one: each file with its size and sha256
``sealing``       JSON that says by its own digest whether it is whole
``members``       the bytes of a bundle around its files: a plain tar, in the one way that its manifest leaves
``signature``     who made it (Ed25519)
``writing``       a bundle, whole or not at all
``reading``       a bundle, checked to its last byte
``importing``     what is in one, in the store
"""
