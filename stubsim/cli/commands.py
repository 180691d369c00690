"""Which commands there are."""

from __future__ import annotations

DESCRIPTION = "Tells what a Unified Kernel Image does on a machine before it boots."

# Command -> what `stubsim --help` says of it; the module in this package has the command's name.
COMMANDS = {
    "boot": "boot a UKI on a machine: what is chosen, staged and measured",
    "why": "why a UKI's firmware and devicetree are chosen, or why not",
    "diff": "what differs between two UKIs, two machines or two stubs",
    "inspect": "what is in a UKI, from sections to stub; or the UKIs of a folder",
    "chids": "a machine's hardware ids, each with its parts",
    "hwids": "sets of hardware ids: build, show, lint, audit, make",
    "host": "machines: show what is understood of one, make a host file of it",
    "measure": "the PCR values a UKI leads to, by phase, on a machine or any",
    "which": "which profile, phase, machine or stub gives a PCR value",
    "log": "the whole TPM event log of a boot, the firmware's part too",
    "fleet": "one UKI on many machines: who gets what, and which PCR values",
    "verify-pcrsig": "which signed PCR policies of a UKI hold, on a machine or any",
    "entries": "what systemd-boot lists on a partition, and what it passes on",
    "dialects": "the protocols by which a firmware is handed over",
    "stubs": "the releases of systemd-stub: what changed, who ships which",
    "diff-log": "a real event log beside the prediction: what differs, and why",
    "check": "boot the cases of *.boot.toml files, check what they expect",
    "vectors": "test vectors for other programs, as JSON and as a table in C",
    "schema": "the JSON Schema of what a command writes or reads",
}

# Command, or command and action -> a call that its --help shows.
EXAMPLES = {
    "boot": "stubsim boot uki.efi --smbios host.json --esp /efi",
    "why": "stubsim why uki.efi --smbios dmidecode.txt",
    "diff": "stubsim diff old.efi new.efi --smbios host.json",
    "inspect": "stubsim inspect uki.efi",
    "chids": "stubsim chids --smbios live",
    "hwids": "stubsim hwids lint boot/hwids --hosts machines",
    "hwids build": "stubsim hwids build boot/hwids -o hwids.section",
    "hwids show": "stubsim hwids show uki.efi --smbios host.json",
    "hwids from-host": "stubsim hwids from-host live --compatible vendor,board -o board.json",
    "hwids audit": "stubsim hwids audit boot/hwids --hosts machines.parquet",
    "hwids lint": "stubsim hwids lint boot/hwids --hosts machines",
    "host": "stubsim host show dmidecode.txt",
    "host show": "stubsim host show dmidecode.txt",
    "host convert": "stubsim host convert dmidecode.txt -o host.json",
    "host merge": "stubsim host merge dmidecode.txt host.json -o merged.json",
    "host capture": "sudo stubsim host capture -o host.json",
    "measure": "stubsim measure uki.efi --smbios a.json --smbios b.json --policy",
    "which": "stubsim which uki.efi --pcr 13=0000000000000000000000000000000000000000",
    "log": "stubsim log uki.efi --smbios host.json --firmware CODE.fd --esp /efi",
    "fleet": "stubsim fleet uki.efi --hosts machines.parquet --given secure_boot=false",
    "verify-pcrsig": "stubsim verify-pcrsig uki.efi --smbios host.json",
    "entries": "stubsim entries --esp /efi",
    "dialects": "stubsim dialects",
    "stubs": "stubsim stubs",
    "diff-log": "stubsim diff-log uki.efi --smbios host.json --eventlog machine.log",
    "check": "stubsim check tests --junit results.xml",
    "vectors": "stubsim vectors -o vectors",
    "schema": "stubsim schema host",
}
