#!/bin/sh
# Prints the path of the helm that the chart is tested with, and installs it first where it is missing.
#   PATH="$(sh tests/deploy/helm.sh):$PATH" pytest tests/deploy
# It is compiled from its Go module (needs go; some minutes, once), into a directory of its own for each version.
set -eu
version=v3.19.5
bin="${XDG_CACHE_HOME:-$HOME/.cache}/linq-relay/helm-$version"
if [ ! -x "$bin/helm" ]; then
    command -v go >/dev/null || { echo "helm.sh: go is not installed; it compiles helm $version" >&2; exit 1; }
    echo "compiling helm $version ..." >&2
    GOBIN="$bin" timeout 600 go install "helm.sh/helm/v3/cmd/helm@$version" >&2
fi
echo "$bin"
