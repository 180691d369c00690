"""What the EFI variables of a running system tell of its machine: which the next stub will meet, and what they say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from uuid import UUID

from stubsim.hosts.host import Variable
from stubsim.hosts.live_findings import Findings

FOLDER = "sys/firmware/efi/efivars"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
# The vendor GUID of the Boot Loader Interface (systemd.io/BOOT_LOADER_INTERFACE).
_LOADER = UUID("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
# UEFI 2.10, 8.2.1.
_NON_VOLATILE = 1

# What a stub sets where no loader has -> the first systemd-boot that sets it (export-vars.c, boot.c, measure.c).
_OF_STUB = {
    "LoaderDevicePartUUID": 0,
    "LoaderFirmwareInfo": 0,
    "LoaderFirmwareType": 0,
    "LoaderImageIdentifier": 0,
    "LoaderKeyboardLayout": 261,
    "LoaderPcrSMBIOS": 261,
    "LoaderTpm2ActivePcrBanks": 258,
}
# GRUB's module bli sets no other of these (grub-core/commands/bli.c of 2.12).
_OF_GRUB = {"LoaderDevicePartUUID"}
_EXPORTS_LAYOUT = 261
# EFI_TCG2_PROTOCOL, HashAlgorithmBitmap.
_BANKS = {"sha1": 1, "sha256": 2, "sha384": 4, "sha512": 8}
_MOUNT_POINTS = ("/efi", "/boot/efi", "/boot")


def read(found: Findings) -> None:
    """Everything that the variables tell. Without any of them all of it is left open."""
    names = found.names(FOLDER)
    if not names:
        uefi = found.exists("sys/firmware/efi")
        found.note(
            "the EFI variables cannot be read: efivarfs is not mounted, or empty"
            if uefi
            else "no /sys/firmware/efi: this system was not started by UEFI, so nothing is known of its firmware"
        )
        found.unknown |= {"variables", "boot_secret", "esp_partition_uuid"}
        return
    seen = _loaders(found, names)
    texts = {name: _text(variable.data) for name, variable in seen.items()}
    _secure_boot(found, names)
    _variables(found, seen, texts)
    _firmware(found, texts)
    _keyboard_layout(found, texts)
    _partition(found, texts)
    _banks(found, texts)


def _loaders(found: Findings, names: list[str]) -> dict[str, Variable]:
    """The variables of the Boot Loader Interface by name: a file is 4 bytes of attributes and the data."""
    rows = {}
    for name in names:
        plain = name.removesuffix(f"-{_LOADER}")
        content = found.content(os.path.join(FOLDER, name)) if plain not in ("", name) else None
        if content is not None and len(content) >= 4:
            rows[plain] = Variable(plain, _LOADER, int.from_bytes(content[:4], "little"), content[4:])
    return rows


def _text(data: bytes) -> str:
    return data.decode("utf-16-le", "replace").partition("\0")[0]


def _secure_boot(found: Findings, names: list[str]) -> None:
    """One byte, 1 where it is on; firmware that has no such variable has no Secure Boot (UEFI 2.10, 3.3)."""
    name = f"SecureBoot-{_GLOBAL}"
    content = found.content(os.path.join(FOLDER, name))
    if content is not None and len(content) == 5:
        found.known("secure_boot", content[4] == 1)
    elif name not in names:
        found.known("secure_boot", False)


def _variables(found: Findings, seen: Mapping[str, Variable], texts: Mapping[str, str]) -> None:
    """Those that will be there before the next stub: what survives a reset, and what the boot loader sets each time.

    What the stub of the last boot wrote is its output, and volatile, so it is no input of the next.
    """
    kept, of_stub, times = [], [], []
    for name, variable in seen.items():
        if variable.attributes & _NON_VOLATILE:
            kept.append(variable)
        elif name.startswith("LoaderTime"):
            times.append(name)
        elif name.startswith("Stub") or ("StubInfo" in seen and _set_by_stub(name, texts)):
            of_stub.append(name)
        else:
            kept.append(variable)
    found.known("variables", tuple(kept))
    loader = texts.get("LoaderInfo")
    if kept:
        found.note(f"variables kept: {', '.join(row.name for row in kept)}")
        if loader is not None:
            found.note(f"the volatile ones of them are what {loader} sets before it starts a stub")
    if of_stub:
        found.note(f"variables left out, as the stub of the last boot set them: {', '.join(of_stub)}")
    if times:
        found.note(f"variables left out, as they are the times of the last boot: {', '.join(times)}")
    strange = loader is not None and not loader.startswith(("systemd-boot", "GRUB"))
    shared = [row.name for row in kept if row.name in _OF_STUB and not row.attributes & _NON_VOLATILE]
    if strange and "StubInfo" in seen and shared:
        found.unknown.add("variables")
        found.note(f"whether {loader} or the stub set them does not show: {', '.join(shared)}")
    found.unknown.add("boot_secret")


def _set_by_stub(name: str, texts: Mapping[str, str]) -> bool:
    """Of a volatile variable, when a stub ran: no loader says that it was there, or it sets no such variable."""
    if name not in _OF_STUB:
        return False
    loader = texts.get("LoaderInfo")
    if loader is None:
        return True
    if loader.startswith("systemd-boot"):
        return _release(loader) < _OF_STUB[name]
    if loader.startswith("GRUB"):
        return name not in _OF_GRUB
    # No loader lies where the UKI does.
    return name == "LoaderImageIdentifier" and texts[name] == texts.get("StubImageIdentifier")


def _release(text: str) -> int:
    """As in "systemd-boot 257.13-1~deb13u1"; 0 for another text."""
    number = re.match(r"systemd-(?:boot|stub) (\d{1,4})", text)
    return int(number[1]) if number else 0


def _firmware(found: Findings, texts: Mapping[str, str]) -> None:
    """`EDK II 1.00` and `UEFI 2.70`, of the system table's 32-bit revisions (export-vars.c)."""
    info = re.fullmatch(r"(.*) (\d{1,5})\.(\d{2,5})", texts.get("LoaderFirmwareInfo", ""), re.DOTALL)
    if info and (revision := _revision(info[2], info[3])) is not None:
        found.known("firmware.vendor", info[1])
        found.known("firmware.revision", revision)
    kind = re.fullmatch(r"UEFI (\d{1,5})\.(\d{2,5})", texts.get("LoaderFirmwareType", ""))
    if kind and (revision := _revision(kind[1], kind[2])) is not None:
        found.known("firmware.uefi_revision", revision)


def _revision(major: str, minor: str) -> int | None:
    high, low = int(major), int(minor)
    return high << 16 | low if max(high, low) <= 0xFFFF else None


def _keyboard_layout(found: Findings, texts: Mapping[str, str]) -> None:
    """Without the variable there is no layout where one ran that would have set it."""
    layout = texts.get("LoaderKeyboardLayout")
    releases = [_release(texts.get(name, "")) for name in ("LoaderInfo", "StubInfo")]
    if layout is not None or max(releases) >= _EXPORTS_LAYOUT:
        found.known("keyboard_layout", layout)


def _partition(found: Findings, texts: Mapping[str, str]) -> None:
    """The one that the last stub was started from, else the loader's, else the one that is mounted."""
    of_stub, of_loader = (_guid(texts.get(name, "")) for name in ("StubDevicePartUUID", "LoaderDevicePartUUID"))
    mounted = _mounted(found)
    if of_stub is not None:
        found.known("esp_partition_uuid", of_stub)
        found.note("the partition is the one of StubDevicePartUUID")
    elif of_loader is not None:
        found.likely("esp_partition_uuid", of_loader)
        found.note("the partition is the one of LoaderDevicePartUUID")
        if "LoaderInfo" not in texts or {*mounted.values()} <= {of_loader}:
            found.unknown.discard("esp_partition_uuid")
        else:
            found.note("the UKI may be on another one, as one of /efi, /boot/efi and /boot is")
    elif "StubInfo" in texts:
        found.known("esp_partition_uuid", None)
        found.note("the last stub was started from no partition")
    elif mounted:
        point, guid = next(iter(mounted.items()))
        found.likely("esp_partition_uuid", guid)
        found.note(f"the partition is the one that is mounted on {point}")
        if len({*mounted.values()}) == 1:
            found.unknown.discard("esp_partition_uuid")
    else:
        found.unknown.add("esp_partition_uuid")


def _guid(text: str) -> UUID | None:
    """None for a partition of another table than GPT as well."""
    try:
        return UUID(text) if re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text) else None
    except ValueError:
        return None


def _mounted(found: Findings) -> dict[str, UUID]:
    """The GPT partitions with FAT on the usual mount points (proc_pid_mountinfo(5))."""
    devices = {}
    for line in (found.content("proc/self/mountinfo", 1 << 20) or b"").decode(errors="replace").splitlines():
        mount, _, device = line.partition(" - ")
        fields, source = mount.split(" "), device.split(" ")
        if len(fields) > 4 and len(source) > 1 and fields[4] in _MOUNT_POINTS and source[0] == "vfat":
            devices[fields[4]] = os.path.basename(source[1])
    links = "dev/disk/by-partuuid"
    guids = {}
    for name in found.names(links):
        guid = _guid(name)
        try:
            target = os.path.basename(os.readlink(os.path.join(found.root, links, name)))
        except OSError:
            continue
        if guid is not None:
            guids[target] = guid
    return {point: guids[devices[point]] for point in _MOUNT_POINTS if devices.get(point) in guids}


def _banks(found: Findings, texts: Mapping[str, str]) -> None:
    """A mask of the active banks, 0 where the firmware has no TPM."""
    mask = re.fullmatch(r"0x([0-9a-f]{8})", texts.get("LoaderTpm2ActivePcrBanks", ""))
    if mask:
        banks = tuple(bank for bank, bit in _BANKS.items() if int(mask[1], 16) & bit)
        if banks or int(mask[1], 16) == 0:
            found.known("tpm", banks or None)
