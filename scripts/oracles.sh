#!/usr/bin/env bash
# Install the Debian tools that the tests marked "oracle" compare with. Where that is not possible, say so in one line:
# the tests then skip, and under CI=true they fail.
set -euo pipefail

# command, and the Debian package it comes from
tools='
cpio            cpio
dtc             device-tree-compiler
fdtget          device-tree-compiler
dmidecode       dmidecode
fwupdtool       fwupd
tpm2_eventlog   tpm2-tools
sbsign          sbsigntool
pesign          pesign
systemd-measure systemd
'

export PATH="$PATH:/usr/sbin:/sbin:/usr/lib/systemd:/lib/systemd"

missing() {
    while read -r command package; do
        if [ -n "$command" ] && ! command -v "$command" >/dev/null; then echo "$package"; fi
    done <<<"$tools" | sort -u
}

packages=$(missing | xargs)
[ -n "$packages" ] || exit 0

give_up() {
    echo "oracles: $1; install: $packages" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

command -v apt-get >/dev/null || give_up "no apt-get here"
root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || give_up "neither root nor sudo without a password"
    root=(sudo -n)
fi

apt_get() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null
}

echo "oracles: installing $packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -n "${STUBSIM_APT_UPDATED:-}" ] || apt_get update >"$log" 2>&1 || give_up "apt-get update failed: $(tail -n 1 "$log")"
# shellcheck disable=SC2086 # one word a package
if ! apt_get install -y --no-install-recommends $packages >"$log" 2>&1; then
    # One package that a release does not have must not cost us the others.
    for package in $packages; do
        apt_get install -y --no-install-recommends "$package" >"$log" 2>&1 || true
    done
fi
packages=$(missing | xargs)
[ -z "$packages" ] || give_up "apt-get did not install everything: $(tail -n 1 "$log")"
