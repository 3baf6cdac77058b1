#!/bin/sh
# Runs all of linq-relay on this machine, with a sandbox in place of Linq: see `relay demo --help`.
#   sh deploy/demo.sh          runs until Ctrl-C
#   sh deploy/demo.sh --once   plays once, prints the ledger and exits
# Creates its own .venv; needs Python 3.11 or newer and the package registry, nothing else.
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock
exec .venv/bin/relay demo "$@"
