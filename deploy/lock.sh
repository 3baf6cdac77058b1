#!/bin/sh
# Renews the lock files from pyproject.toml: requirements.lock (runtime), tests/requirements.lock (checks), deploy/build.lock
# (what builds the image), deploy/image.lock (runtime with traces and error reports: what the image has), and that of a sample,
# with the versions that the tests run.
#   sh deploy/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock tests/requirements.lock
lock() { "$PYTHON" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"; }
"$PYTHON" -m pip install --quiet uv
lock "$@" --extra embedded pyproject.toml --output-file requirements.lock
lock "$@" --group dev --constraint requirements.lock --output-file tests/requirements.lock
lock "$@" --extra embedded --extra otel --extra sentry --constraint requirements.lock pyproject.toml --output-file deploy/image.lock
lock "$@" --group build --output-file deploy/build.lock
lock "$@" --constraint tests/requirements.lock deploy/samples/fastapi/requirements.in --output-file deploy/samples/fastapi/requirements.txt
