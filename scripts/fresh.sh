#!/usr/bin/env bash
# Prove on a fresh Debian that what README promises is enough: fresh.sh bookworm|trixie [TARGET...]
#
# debootstrap makes a minimal system with python3, git and make in a folder that is removed at the end. The machine's own
# settings for apt, pip and certificates are copied into it, since it has to reach the same mirrors; nothing else is.
# The commit that is checked out is tried, in a clone. Needs root and debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:?usage: scripts/fresh.sh bookworm|trixie [TARGET...]}
shift
targets=("${@:-demo}")
[ "$(id -u)" = 0 ] || { echo "fresh: debootstrap and chroot need root" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "fresh: install debootstrap" >&2; exit 2; }

root=$(mktemp -d "${TMPDIR:-/var/tmp}/stubsim-fresh.XXXXXX")
# As any other root folder: for everybody.
chmod 755 "$root"
log=$root.log
clean_up() {
    # Innermost first; never remove what is still mounted.
    for mounted in dev/pts dev proc; do
        if mountpoint -q "$root/$mounted"; then umount -l "$root/$mounted"; fi
    done
    rm -rf --one-file-system "$root"
    rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The mirror that this machine's apt takes Debian from, or else debootstrap's own.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | head -n 1)
echo "fresh: making a minimal $suite"
if ! debootstrap --variant=minbase --include=python3,git,make "$suite" "$root" ${mirror:+"$mirror"} >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    exit 1
fi

copy() {
    for path in "$@"; do
        if [ -e "$path" ]; then
            mkdir -p "$root$(dirname "$path")"
            cp -rL --remove-destination "$path" "$root$(dirname "$path")/"
        fi
    done
}
copy /etc/resolv.conf /etc/hosts /etc/apt/apt.conf /etc/apt/auth.conf /etc/apt/auth.conf.d
copy /etc/pip.conf /etc/xdg/pip "$HOME/.config/pip" "$HOME/.pip" /etc/ssl/certs /usr/local/share/ca-certificates
for setting in /etc/apt/apt.conf.d/*; do
    # Of apt.conf.d only what says how a mirror is reached.
    if grep -qi '^[[:space:]]*Acquire' "$setting"; then copy "$setting"; fi
done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,size=1m dev "$root/dev"
for device in null zero full random urandom tty; do
    cp -a --remove-destination "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"

git clone --quiet --no-hardlinks . "$root/root/stubsim"
# What says how pip and apt reach their mirrors, and nothing else of the environment.
kept=()
while IFS= read -r -d '' variable; do
    case ${variable,,} in
    pip_* | *_proxy=* | ssl_cert_* | requests_ca_bundle=*) kept+=("$variable") ;;
    esac
done < <(env -0)
echo "fresh: make ${targets[*]}"
chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${kept[@]}" \
    make --no-print-directory -C /root/stubsim "${targets[@]}" </dev/null
echo "fresh: make ${targets[*]} is done on a fresh $suite"
