#!/usr/bin/env bash
# Boot the demo UKI, which carries two firmwares, on three machines.
set -euo pipefail
cd "$(dirname "$0")/.."

uki=build/fixtures/demo.efi

boot() {
    local host=fixtures/hosts/$2.json
    printf '\n=== %s\n\n$ stubsim boot %s --smbios %s\n\n' "$1" "$uki" "$host"
    .venv/bin/stubsim boot "$uki" --smbios "$host"
}

.venv/bin/python scripts/build_fixtures.py
boot '1 of 3: the first firmware, and a hypervisor that takes it' example-qemu-vmfwupdate
boot '2 of 3: the second firmware, and no hypervisor to take it' google-compute-engine
boot '3 of 3: no firmware for this machine' microsoft-hyper-v-gen2
