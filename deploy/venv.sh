# Creates or refreshes .venv from the lock files. Use it from the top of the checkout:
#   . deploy/venv.sh; relay_venv LOCK [LOCK ...]      sets $PYTHON to the interpreter of .venv
# A venv made from the same locks and the same pyproject.toml is used unchanged.

relay_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return 0
        fi
    done
    echo "linq-relay needs Python 3.11 or newer on the PATH; none of python3, python3.11 ... python3.14 is." >&2
    return 1
}

relay_venv() {
    base=$(relay_python) || return 1
    PYTHON=.venv/bin/python
    # .venv/stamp has a line for each lock with the inputs of the venv. The interpreter is among them, so that a new
    # Python makes a new venv; the settings of tools are not. A venv with more locks than asked for is used too.
    made_from=$({ sed '/^# --- Style/,$d' pyproject.toml; "$base" -c 'import sys; print(sys.version, sys.base_prefix)'; } | cksum)
    missing=""
    for lock in "$@"; do
        grep -qxF "$(relay_stamp "$lock")" .venv/stamp 2>/dev/null || missing=yes
    done
    if [ -x "$PYTHON" ] && [ -z "$missing" ]; then
        return 0
    fi
    # Keep the other locks that the old venv had.
    for lock in $(cut -d ' ' -f 1 .venv/stamp 2>/dev/null); do
        case " $* " in *" $lock "*) ;; *) [ -f "$lock" ] && set -- "$@" "$lock" ;; esac
    done
    echo "Preparing .venv ($*), once ..." >&2
    requirements=""
    for lock in "$@"; do requirements="$requirements -r $lock"; done
    "$base" -m venv --clear .venv || {
        echo "Could not create .venv with $base (on Debian and Ubuntu: apt install python3-venv)." >&2
        return 1
    }
    # shellcheck disable=SC2086  # a list of options, meant to be split
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --require-hashes $requirements &&
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --editable . &&
        for lock in "$@"; do relay_stamp "$lock"; done >.venv/stamp
}

relay_stamp() { # the line of a lock
    echo "$1 $(cksum <"$1") $made_from"
}
