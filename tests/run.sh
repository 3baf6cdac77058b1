#!/bin/sh
# Everything that must hold before a change lands: style, types, the floors of the house, tests.
#   sh tests/run.sh            all of it
#   sh tests/run.sh -k lanes   the same, with arguments for pytest
# Makes its own .venv; needs Python 3.11 or newer and the package registry, nothing else.
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock tests/requirements.lock
PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check .
mypy
lint-imports --no-logo
pytest "$@"
