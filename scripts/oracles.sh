#!/usr/bin/env bash
# Install the Debian tools that the tests marked "oracle" compare with. Where that is not possible, say so in one line:
# the tests then skip, and under CI=true they fail. Debian 12 has no ukify, its systemd-measure is an old one, and its
# fwupdtool reads no event log, so those come from Debian testing, in a folder of their own (STUBSIM_ORACLES) that they
# are run in by chroot; and ukify of series 257 from Debian 13, which signs PCR policies as it does.
set -euo pipefail

# command or file, and the Debian package it comes from
tools='
cpio            cpio
dtc             device-tree-compiler
fdtget          device-tree-compiler
dmidecode       dmidecode
fwupdtool       fwupd
qemu-system-x86_64 qemu-system-x86
qemu-system-aarch64 qemu-system-arm
tpm2_eventlog   tpm2-tools
tpm2_policypcr  tpm2-tools
swtpm           swtpm
sbsign          sbsigntool
pesign          pesign
debootstrap     debootstrap
systemd-measure systemd
chromium        chromium
readelf         binutils
x86_64-linux-gnu-gcc gcc
zsh             zsh
fish            fish
man             man-db
mandoc          mandoc
/usr/share/ovmf/OVMF.fd                   ovmf
/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd ovmf-ia32
/usr/share/AAVMF/AAVMF_CODE.fd            qemu-efi-aarch64
'
# What only the heavy tests start: Spark and a database.
if [ "${1:-}" = heavy ]; then
    tools+='java    default-jre-headless
/usr/share/postgresql-common/pg_wrapper   postgresql
'
fi

export PATH="$PATH:/usr/sbin:/sbin:/usr/lib/systemd:/lib/systemd"

missing() {
    while read -r command package; do
        if [ -n "$command" ] && ! command -v "$command" >/dev/null && [ ! -f "$command" ]; then echo "$package"; fi
    done <<<"$tools" | sort -u
}

folder=${STUBSIM_ORACLES:-/var/cache/stubsim-oracles}
newer=$folder/testing
trixie=$folder/trixie

make_newer() {
    [ ! -x "$newer/usr/bin/fwupdtool" ] || [ ! -x "$newer/usr/lib/systemd/systemd-measure" ] || return 0
    [ "$(id -u)" = 0 ] || give_up "chroot into Debian testing needs root" "fwupd 2.1.1 or newer, systemd-ukify, systemd-tpm"
    echo "oracles: putting ukify, systemd-measure and fwupdtool of Debian testing into $newer"
    rm -rf "$newer.new"
    mkdir -p "$(dirname "$newer")"
    # It exits with an error because fwupd's service cannot be set up in there; what counts is that the tools run.
    debootstrap --variant=minbase --include=fwupd,systemd-ukify,systemd-tpm,libtss2-rc0t64 testing "$newer.new" \
        >"$newer.log" 2>&1 </dev/null || true
    if ! { chroot "$newer.new" ukify --version && chroot "$newer.new" /usr/lib/systemd/systemd-measure --version && chroot "$newer.new" fwupdtool get-firmware-types; } >/dev/null 2>&1; then
        give_up "debootstrap failed: $(tail -n 1 "$newer.log")" "fwupd 2.1.1 or newer, systemd-ukify, systemd-tpm"
    fi
    mv "$newer.new" "$newer"
}

# One program of a package whose set-up needs a running system; `make test-heavy` compares with it.
add_pcrlock() {
    [ -d "$newer" ] && [ "$(id -u)" = 0 ] && [ ! -x "$newer/usr/lib/systemd/systemd-pcrlock" ] || return 0
    # shellcheck disable=SC2016 # expanded in there
    chroot "$newer" sh -c 'cd /tmp && apt-get -qq download systemd-tpm &&
        dpkg-deb --fsys-tarfile systemd-tpm_*.deb | tar -x -C / ./usr/lib/systemd/systemd-pcrlock
        rm -f systemd-tpm_*.deb' >/dev/null 2>&1 </dev/null || echo "oracles: no systemd-pcrlock of Debian testing" >&2
}

make_trixie() {
    [ ! -x "$trixie/usr/bin/ukify" ] || return 0
    [ "$(id -u)" = 0 ] || give_up "chroot into Debian 13 needs root" "systemd-ukify of Debian 13"
    echo "oracles: putting ukify of Debian 13 into $trixie"
    rm -rf "$trixie.new"
    mkdir -p "$folder"
    debootstrap --variant=minbase --include=systemd-ukify,systemd,libtss2-rc0t64,libtss2-esys-3.0.2-0t64,libtss2-mu-4.0.1-0t64 trixie "$trixie.new" \
        >"$trixie.log" 2>&1 </dev/null || true
    chroot "$trixie.new" ukify --version >/dev/null 2>&1 ||
        give_up "debootstrap failed: $(tail -n 1 "$trixie.log")" "systemd-ukify of Debian 13"
    mv "$trixie.new" "$trixie"
}

give_up() {
    echo "oracles: $1; install: ${2:-$packages}" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
}

packages=$(missing | xargs)
if [ -z "$packages" ]; then
    make_newer
    add_pcrlock
    make_trixie
    exit 0
fi
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
make_newer
add_pcrlock
make_trixie
