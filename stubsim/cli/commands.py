"""Which commands there are."""

from __future__ import annotations

DESCRIPTION = "Tells what a Unified Kernel Image does on a machine before it boots."

# Command -> what `stubsim --help` says of it; the module in this package has the command's name.
COMMANDS = {
    "boot": "boot a UKI on a machine: what is chosen, staged, measured and written",
    "why": "why a UKI's firmware and devicetree are chosen on a machine, or why not",
    "diff": "what differs between two UKIs, two machines or two stubs",
    "inspect": "what is in a UKI: sections, profiles, .hwids, .efifw, its stub",
    "chids": "a machine's hardware ids, each with its parts",
    "hwids": "hwids sets: build, show, make from a machine, and find what is wrong with them",
    "host": "a machine from what there is of it: show what is understood, convert to a host file, capture this one",
    "measure": "the PCR values a UKI leads to, by boot phase, on a machine or on any",
    "dialects": "the protocols by which a firmware is handed over: source, status, what is decided here",
    "diff-log": "a real machine's event log beside the prediction: what differs first, and why",
    "check": "boot the cases of *.boot.toml files and compare with what they expect",
    "vectors": "test vectors for other programs: images, machines and what each stub chooses, as JSON and C",
}
