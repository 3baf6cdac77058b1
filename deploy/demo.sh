#!/bin/sh
# The whole of linq-relay on one machine, with a sandbox in Linq's place: see `relay demo --help`.
#   sh deploy/demo.sh          runs until Ctrl-C
#   sh deploy/demo.sh --once   plays once, prints the ledger, and ends
# Makes its own .venv; needs Python 3.11 or newer and the package registry, nothing else.
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
relay_venv requirements.lock
exec .venv/bin/relay demo "$@"
