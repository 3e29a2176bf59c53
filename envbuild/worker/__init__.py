"""What runs inside a model's environment: started as a folder (see ``__main__.py``), never imported by the host.

Standard library only, in the syntax of CPython 3.6; it never imports ``envbuild``.
"""
