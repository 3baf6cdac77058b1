#!/bin/sh
# Builds a release into dist/, from a commit and nothing else: wheel and source of the relay and of the consumer for teams,
# lock file, bill of materials, image, chart, SHA256SUMS. All but image and chart are the same bytes each time (with the
# same Python).
#   sh deploy/release.sh              from the commit that is checked out, if it has its version's tag, such as v0.2.0
#   sh deploy/release.sh --snapshot   with or without a tag
#   --no-image, --no-chart            leave that out; an image needs buildah or docker, a chart needs helm
# Environment: BASE is another base image, IMAGE_OPTIONS are more options for `buildah build` or `docker build`.
# Needs git, Python 3.11 or newer and the package registry.
set -eu
cd "$(dirname "$0")/.."
. deploy/venv.sh
umask 022

snapshot="" image=yes chart=yes
for option in "$@"; do
    case $option in
        --snapshot) snapshot=yes ;;
        --no-image) image="" ;;
        --no-chart) chart="" ;;
        *) echo "release.sh: unknown option $option (--snapshot, --no-image, --no-chart)" >&2; exit 2 ;;
    esac
done
revision=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(git show HEAD:pyproject.toml | sed -n 's/^version = "\(.*\)"$/\1/p')
if [ -z "$snapshot" ] && [ "$(git tag --points-at HEAD --list "v$version")" != "v$version" ]; then
    echo "release.sh: commit $revision is version $version and has no tag v$version." >&2
    echo "Type: git tag v$version; or build it as it is: sh deploy/release.sh --snapshot" >&2
    exit 1
fi
[ -z "$(git status --porcelain)" ] || echo "release.sh: changes that are not committed are left out" >&2

# The build tools are in an environment of their own, kept for the next time.
locks=$(cat deploy/build.lock deploy/venv.sh | cksum | cut -d ' ' -f 1)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/linq-relay/build-$locks
if [ ! -e "$tools/complete" ]; then
    base=$(relay_python)
    "$base" -m venv --clear "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/build.lock
    touch "$tools/complete"
fi

rm -rf dist
mkdir dist
out=$PWD/dist
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
trap 'exit 130' INT TERM
git archive --format=tar "$revision" | tar -x -C "$tree"
cd "$tree"
echo "$revision" >relay/_revision.txt # `relay --version` of what is built says it

echo "linq-relay $version, revision $revision" >&2
quietly() { # prints what the command said only if it fails
    "$@" >"$tree/.log" 2>&1 || { cat "$tree/.log" >&2; return 1; }
}
quietly "$tools/bin/python" -m hatchling build -t sdist -t wheel -d "$out"
(cd deploy/consumer && quietly "$tools/bin/python" -m hatchling build -t sdist -t wheel -d "$out")
cp requirements.lock "$out/linq-relay-$version.requirements.lock"
quietly "$tools/bin/cyclonedx-py" requirements --pyproject pyproject.toml --no-validate --output-reproducible \
    --output-file "$out/linq-relay-$version.cdx.json" requirements.lock
build_image() { # OPTIONS...
    # shellcheck disable=SC2086  # a list of options, meant to be split
    "$@" ${BASE:+--build-arg "BASE=$BASE"} ${IMAGE_OPTIONS:-} --build-arg "VERSION=$version" \
        --build-arg "REVISION=$revision" --file deploy/Dockerfile --tag "linq-relay:$version" . >&2
}
archive=$out/linq-relay-$version.image.tar # for `docker load`, `podman load`, `skopeo copy docker-archive:...`
if [ -z "$image" ]; then
    :
elif command -v buildah >/dev/null; then
    build_image buildah build --format docker --timestamp "$SOURCE_DATE_EPOCH"
    quietly buildah push "localhost/linq-relay:$version" "docker-archive:$archive:linq-relay:$version"
elif docker version >/dev/null 2>&1; then
    build_image docker build
    docker save --output "$archive" "linq-relay:$version"
else
    echo "release.sh: NO IMAGE: neither buildah nor a running docker is here" >&2
fi
if [ -z "$chart" ]; then
    :
elif command -v helm >/dev/null; then
    quietly helm package deploy/chart --version "$version" --app-version "$version" --destination "$out"
else
    echo "release.sh: NO CHART: helm is not installed" >&2
fi
cd "$out"
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
