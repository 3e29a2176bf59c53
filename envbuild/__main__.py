"""``python -m envbuild``."""

from envbuild.cli import program

if __name__ == "__main__":
    program()
