"""What the one who deploys looks at before they do.

``explanation``  why a version is in a lock
``reasons``      who asked for a package, and through whom
``difference``   what differs between two models, locks, environments, images or override files
``sides``        each of these, read
``entries``      an override file as one of them
``check``        the model's answers in its own environment held against those in an overridden one
``comparison``   two answers, within a tolerance
``report``       what a check found, for people (Markdown) and programs (JSON)
"""
