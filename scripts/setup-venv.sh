#!/usr/bin/env bash
# Make .venv if it is not there and install the project into it: setup-venv.sh demo|test|lint
set -euo pipefail
cd "$(dirname "$0")/.."

extra=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "stubsim needs Python 3.11 or newer, and '$python' is not; name another one: make PYTHON=python3.13 ..." >&2
    exit 2
fi

make_venv() {
    local log
    # Debian's python3 has venv but not ensurepip, and leaves half an environment behind.
    log=$("$python" -m venv --clear .venv 2>&1) && return
    rm -rf .venv
    if command -v uv >/dev/null; then
        uv venv --quiet --seed --python "$("$python" -c 'import sys; print(sys.executable)')" .venv && return
    elif command -v virtualenv >/dev/null; then
        virtualenv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv && return
    elif "$python" -c 'import virtualenv' 2>/dev/null; then
        "$python" -m virtualenv --quiet .venv && return
    elif "$python" -c 'import ensurepip' 2>/dev/null; then
        echo "$log" >&2 # not the missing package: say what venv said
        rm -rf .venv
        exit 2
    fi
    rm -rf .venv
    echo "cannot make a virtual environment: install the Debian package python3-venv (or uv, or virtualenv)" >&2
    exit 2
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    make_venv
fi

case $extra in
demo) target=. ;;
*) target=".[$extra]" ;;
esac
.venv/bin/python -m pip install -qq --disable-pip-version-check --editable "$target" </dev/null
