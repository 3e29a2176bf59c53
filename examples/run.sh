#!/bin/sh
# Install envbuild into .venv and predict with the example's model in the environment that it was born in.
# Needs Python 3.10 or later and a way to an index of packages; the model's own Python (3.10) is looked for, and
# fetched by uv where it is missing. Arguments go to `envbuild predict`.
set -eu
cd "$(dirname "$0")/.."

if [ ! -x .venv/bin/envbuild ]; then
    python=$(for name in python3 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            break
        fi
    done)
    if [ -z "$python" ]; then
        echo "envbuild needs Python 3.10 or later; there is none on PATH" >&2
        exit 1
    fi
    "$python" -m venv .venv || { echo "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
    .venv/bin/python -m pip install --quiet --editable . >&2
fi
exec .venv/bin/envbuild predict examples/heart/model examples/heart/input.json "$@"
