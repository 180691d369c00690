#!/usr/bin/env bash
# Boot one UKI on several hosts: demo.sh UKI HOST...
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 2 ]; then
    echo "usage: scripts/demo.sh UKI HOST..." >&2
    exit 2
fi
uki=$1
shift

.venv/bin/python scripts/build_fixtures.py
for host in "$@"; do
    printf '\n$ stubsim boot %s --smbios %s\n\n' "$uki" "$host"
    .venv/bin/stubsim boot "$uki" --smbios "$host"
done
