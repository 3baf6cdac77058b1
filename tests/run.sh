#!/bin/sh
# Checks everything that must hold before a change is merged: style, types, layers, tests.
#   sh tests/run.sh                  all of it
#   sh tests/run.sh -m "not slow"    without the tests that start the whole service: the loop while developing
#   sh tests/run.sh -k lanes         with any arguments for pytest
#   sh tests/run.sh --cluster        only the journeys, on a Redis Cluster with one shard, and with four; also with arguments
# Creates its own .venv; needs Python 3.11 or newer and the package registry, nothing else.
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock tests/requirements.lock
PATH="$PWD/.venv/bin:$PATH"

# A hundred processes import the relay, and pytest keeps the assertions that it has rewritten: each compiles once.
unset PYTHONDONTWRITEBYTECODE

# One test at a time for each of two processes, slow ones first (tests/conftest.py), so that both end together; what
# mostly waits runs beside them (tests/background.py).
tests() { pytest -n 2 --dist load --maxschedchunk 1 "$@"; }

# The cluster is started by the tests (tests/on_cluster.py), which name what cannot run there.
if [ "${1:-}" = --cluster ]; then
    shift
    code=0
    for shards in 1 4; do
        echo "journeys on a Redis Cluster, RELAY_SHARDS=$shards"
        tests --cluster --shards "$shards" tests/journeys tests/samples/test_push.py "$@" || code=$?
    done
    exit "$code"
fi

# mypy runs beside the tests, in what they leave of the processors; only what fails is printed. ruff and
# lint-imports take seconds: what they find ends the run before the tests. What mypy finds is printed after them.
logs=$(mktemp -d)
mypy=""
trap '[ -z "$mypy" ] || kill "$mypy" 2>/dev/null || true; rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM
nice mypy >"$logs/mypy" 2>&1 & mypy=$!
ruff check --quiet . >"$logs/ruff-check" 2>&1 & ruff=$!
ruff format --quiet --check . >"$logs/ruff-format" 2>&1 & format=$!
lint-imports --no-logo >"$logs/lint-imports" 2>&1 & imports=$!
failed=""
ended() { # NAME PID: waits for a check
    wait "$2" || { failed="$failed $1"; echo "--- $1"; cat "$logs/$1"; }
}
ended ruff-check "$ruff"
ended ruff-format "$format"
ended lint-imports "$imports"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
echo "ruff and lint-imports are clean; mypy runs beside the tests"

code=0
tests "$@" || code=$?

ended mypy "$mypy"
mypy=""
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
echo "mypy is clean"
exit "$code"
