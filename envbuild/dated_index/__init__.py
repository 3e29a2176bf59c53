"""An index as of a date, on this machine, for pips that know no dates.

A pip of 2018 to 2024 takes the newest that it sees, brings its own idea of certificates, and hands its environment to
every ``setup.py`` that it runs. So it is given a server on 127.0.0.1 in place of the indexes: that asks them with our
certificates and credentials, hides what was uploaded since the cut, and passes files on after their digests were
checked. What pip is told holds no credentials, and an address that nobody can guess.

It speaks the simple API: HTML (PEP 503) to old pips, JSON (PEP 691) to those that ask for it, with
``data-requires-python``, ``data-yanked`` (PEP 592) and the metadata beside a file (PEP 658, PEP 714).
"""
