#!/bin/sh
# Install envbuild and what its tests need into .venv, then run the checks and the tests.
#
#   sh tests/run.sh            linters, types, the default tests (12 minutes at most)
#   sh tests/run.sh --slow     with the slow ones (45 minutes at most)
#   sh tests/run.sh --soak     the soak tests alone
#   sh tests/run.sh --flavors  the models of the large flavors alone (6 GB of libraries, 10 minutes at most)
#
# Further arguments go to pytest. Where CI=true, missing system packages are installed, a Docker daemon is started if none
# answers, and no test may be left out; elsewhere what is missing is listed, and the tests that need it are reported as
# not run.
set -eu
cd "$(dirname "$0")/.."

tier="not slow and not soak and not flavors"
case "${1:-}" in
    --slow) tier="not soak and not flavors"; shift ;;
    --soak) tier="soak"; shift ;;
    --flavors) tier="flavors"; shift ;;
esac

missing=""
command -v git >/dev/null || missing="$missing git"
command -v unshare >/dev/null || missing="$missing util-linux"
ldconfig -p 2>/dev/null | grep -q libgomp.so.1 || missing="$missing libgomp1"
command -v bwrap >/dev/null || missing="$missing bubblewrap"
command -v openssl >/dev/null || missing="$missing openssl"
command -v curl >/dev/null || missing="$missing curl"
command -v chromium >/dev/null || missing="$missing chromium"
command -v chromedriver >/dev/null || missing="$missing chromium-driver"
command -v java >/dev/null || missing="$missing default-jre-headless"
command -v dockerd >/dev/null || [ -n "${DOCKER_HOST:-}" ] || missing="$missing docker.io"
for name in debootstrap docker-registry skopeo; do
    command -v "$name" >/dev/null || missing="$missing $name"
done
if [ -n "$missing" ]; then
    if [ "${CI:-}" = "true" ]; then
        # shellcheck disable=SC2086 # a list of names
        apt-get update -q && apt-get install -q -y --no-install-recommends $missing
    else
        echo "missing system packages:$missing (some tests will not be run)" >&2
    fi
fi

python=$(for name in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "$name"
        break
    fi
done)
[ -n "$python" ] || { echo "the tests need Python 3.10 or later; there is none on PATH" >&2; exit 1; }
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
.venv/bin/python -m pip install --quiet --editable . --group dev

.venv/bin/ruff format --check --quiet .
.venv/bin/ruff check --quiet .
.venv/bin/mypy --no-error-summary

daemon=""
if [ "${CI:-}" = "true" ]; then
    export ENVBUILD_REQUIRE_DOCKER=1
    mkdir -p .cache
    if ! docker info >/dev/null 2>&1; then
        # Neither a bridge nor rules of a firewall: containers under test have the host's network, or none.
        dockerd --iptables=false --bridge=none >.cache/dockerd.log 2>&1 &
        daemon=$!
        tries=0
        until docker info >/dev/null 2>&1; do
            tries=$((tries + 1))
            if [ "$tries" -gt 100 ]; then
                tail -n 20 .cache/dockerd.log >&2
                exit 1
            fi
            sleep 0.3
        done
    fi
fi
status=0
# A shell has what it puts into the background ignore interrupts, and some tests send them: the images' tests below, and
# all of them where this script itself was put there.
heeding_interrupts="import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
if [ "$#" -eq 0 ] && [ "$tier" != "soak" ] && [ "$tier" != "flavors" ]; then
    # Those that drive the Docker daemon beside all others, since most of what a test does is to wait. Never two of them
    # at a time: they look at what the one daemon has.
    mkdir -p .cache
    .venv/bin/python -c "$heeding_interrupts" -m pytest -m "$tier" --durations=30 tests/images >.cache/images.log 2>&1 &
    images=$!
    trap 'kill "$images" 2>/dev/null || true' EXIT
    # A file's tests stay together: they share what its fixtures made.
    .venv/bin/python -c "$heeding_interrupts" -m pytest -m "$tier" --durations=100 --ignore tests/images -n 2 --dist loadfile || status=$?
    wait "$images" || status=$?
    trap - EXIT
    cat .cache/images.log
else
    .venv/bin/python -c "$heeding_interrupts" -m pytest -m "$tier" "$@" || status=$?
fi
[ -z "$daemon" ] || kill "$daemon"
exit "$status"
