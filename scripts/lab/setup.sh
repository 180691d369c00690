#!/usr/bin/env bash
# Install the Debian packages that the lab needs, unless they are there: setup.sh
set -euo pipefail

# A command or file of each package.
tools='
x86_64-linux-gnu-gcc           gcc
aarch64-linux-gnu-gcc          gcc-aarch64-linux-gnu
/usr/aarch64-linux-gnu/lib/libc.a libc6-dev-arm64-cross
qemu-aarch64                   qemu-user
clang                          clang
lld-link                       lld
qemu-system-x86_64             qemu-system-x86
qemu-system-aarch64            qemu-system-arm
/usr/share/OVMF/OVMF_CODE_4M.fd ovmf
/usr/share/AAVMF/AAVMF_CODE.fd qemu-efi-aarch64
swtpm                          swtpm
mcopy                          mtools
mkfs.fat                       dosfstools
sfdisk                         fdisk
swtpm_setup                    swtpm-tools
openssl                        openssl
sbsign                         sbsigntool
/usr/lib/ipxe/qemu/efi-virtio.rom ipxe-qemu
'

export PATH="$PATH:/usr/sbin:/sbin"

missing() {
    while read -r file package; do
        if [ -n "$file" ] && ! command -v "$file" >/dev/null && [ ! -e "$file" ]; then echo "$package"; fi
    done <<<"$tools" | sort -u
}

packages=$(missing | xargs)
[ -n "$packages" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "lab: not root, or no apt-get here; install: $packages" >&2
    exit 2
fi
echo "lab: installing $packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # one word a package
if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends $packages; } >"$log" 2>&1 </dev/null; then
    echo "lab: apt-get failed: $(tail -n 1 "$log")" >&2
    exit 2
fi
