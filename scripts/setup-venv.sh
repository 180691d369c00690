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
    else
        install_venv
        "$python" -m venv --clear .venv && return
    fi
    rm -rf .venv
    exit 2
}

# Install the Debian package that is missing: as root, by sudo without a password, or where sudo has a terminal to ask on.
install_venv() {
    local version package=python3-venv root=() log
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$version" = "$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" ] ||
        package=python$version-venv
    command -v apt-get >/dev/null || give_up "install the venv module of $python (or uv, or virtualenv)"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || give_up "as root, run: apt-get install $package (or install uv, or virtualenv)"
        root=(sudo -n)
        if ! sudo -n true 2>/dev/null; then
            [ -t 0 ] && [ -t 2 ] || give_up "run: sudo apt-get install $package (or install uv, or virtualenv)"
            root=(sudo)
        fi
    fi
    echo "installing $package: ${root[*]:+${root[*]} }apt-get install $package"
    log=$(mktemp)
    # A machine that was never updated has no lists of packages yet.
    if ! { apt_get install "$package" || { apt_get update && apt_get install "$package"; }; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        give_up "apt-get install $package failed"
    fi
    rm -f "$log"
}

apt_get() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 "$@" </dev/null
}

give_up() {
    echo "cannot make a virtual environment: $1" >&2
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
