#!/bin/sh
# Renews the lock files from pyproject.toml: requirements.lock (runtime), tests/requirements.lock (checks) and
# deploy/build.lock (what builds the image).
#   sh deploy/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock tests/requirements.lock
lock() { "$PYTHON" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"; }
"$PYTHON" -m pip install --quiet uv
lock "$@" --extra embedded pyproject.toml --output-file requirements.lock
lock "$@" --group dev --constraint requirements.lock --output-file tests/requirements.lock
lock "$@" --group build --output-file deploy/build.lock
