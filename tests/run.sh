#!/bin/sh
# Checks everything that must hold before a change is merged: style, types, layers, tests.
#   sh tests/run.sh                  all of it
#   sh tests/run.sh -m "not slow"    without the tests that start the whole service: the loop while developing
#   sh tests/run.sh -k lanes         with any arguments for pytest
# Creates its own .venv; needs Python 3.11 or newer and the package registry, nothing else.
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock tests/requirements.lock
PATH="$PWD/.venv/bin:$PATH"

# A hundred processes import the relay, and pytest keeps the assertions that it has rewritten: each compiles once.
unset PYTHONDONTWRITEBYTECODE

# The static checks run side by side; only what fails is printed.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM
ruff check --quiet . >"$logs/ruff-check" 2>&1 & ruff=$!
ruff format --quiet --check . >"$logs/ruff-format" 2>&1 & format=$!
mypy >"$logs/mypy" 2>&1 & mypy=$!
lint-imports --no-logo >"$logs/lint-imports" 2>&1 & imports=$!
failed=""
for check in "ruff-check $ruff" "ruff-format $format" "mypy $mypy" "lint-imports $imports"; do
    name=${check% *}
    wait "${check#* }" || { failed="$failed $name"; echo "--- $name"; cat "$logs/$name"; }
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
echo "ruff, mypy and lint-imports are clean"

# One test at a time for each of two processes, slow ones first (tests/conftest.py), so that both end together; what
# mostly waits runs beside them (tests/background.py).
pytest -n 2 --dist load --maxschedchunk 1 "$@"
