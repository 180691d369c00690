"""Random machines, as host files."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from scripts.lab.drawing.values import Drawing, Json, b64
from stubsim.formats import edid, smbios
from stubsim.uefi.variables import GLOBAL, LOADER

PARTITION = "5eed0e5b-1ab0-4000-8000-0000000000e5"


class Machine(Drawing):
    """``fields`` and ``panel`` are what its CHIDs are made of."""

    def __init__(self, random: Random, machine: str) -> None:
        super().__init__(random, machine)
        self.fields, self.panel = self._identity()

    def _identity(self) -> tuple[smbios.Fields, str | None]:
        words = (
            b"Example", b"Lab", b" 00 x ", b"0", b"000", b"\xff\xfe", "Ü".encode(), b"a\tb", b"  lead", b"trail  ",
            b"A0", b"X" * 70, None, None,
        )  # fmt: skip
        names = ("manufacturer", "product_name", "product_sku", "family", "baseboard_manufacturer", "baseboard_product")
        values: dict[str, Any] = {name: self.one(*words) for name in names}
        panel = self.one("EXA12ef", "AUO1234", None, None, None)
        return smbios.Fields(**values, bios_vendor=b"EDK II", bios_version=b"1.0", bios_major=2, bios_minor=11), panel

    def host(self) -> Json:
        host: Json = {
            "schema": "stubsim/host/1",
            "architecture": self.machine,
            "memory": self.one("256M", "384M", "384M", "2G"),
            "smbios_table": self._smbios_table(),
            "tpm": None if self.maybe(0.15) else {"banks": self._banks()},
            "esp_partition_uuid": PARTITION if self.maybe(0.9) else None,
            "rng": self.maybe(0.25),
            "console": self._console(),
            "variables": self._variables(),
            "fw_cfg": None,
        }
        if self.panel is not None:
            whole = edid.build(self.panel) + self.one(b"", b"", bytes(128))
            host["edid"] = b64(self.damaged(whole, 0.1))
        elif self.maybe(0.03):
            host["edid"] = b64(bytes(self.one(0, 1, 127, 128)))
        if self.maybe(0.15):
            tree = self.tree()
            # The firmware's own has a header at least.
            host["devicetree"] = b64(tree) if len(tree) >= 40 else None
        if self.maybe(0.15):
            host["devicetree_fixup"] = self._fixup()
        if self.maybe(0.12):
            host["previous_initrd"] = b64(b"\xa5" * self.one(1, 4, 17, 512))
        if self.maybe(0.1):
            host["secure_boot"] = True
        if self.machine == "x64" and self.maybe(0.1):
            host["confidential"] = self.one("tdx", "sev-snp")
        if self.maybe(0.1):
            host["hypervisor"] = False
            host.pop("confidential", None)
        if self.maybe(0.2):
            host["keyboard_layout"] = self.one("en-US", "de-DE", "x")
        if self.maybe(0.1):
            host["firmware"] = {
                "vendor": self.one("Example Inc.", "", "Ü"),
                "revision": self.one(0, 0x10000, 0x20003, 0xFFFFFFFF, 0x1000A),
                "uefi_revision": self.one(0x20046, 0x2001F, 0x20064, 0x2000A),
            }
        return host

    def _fixup(self) -> Json:
        """What EFI_DT_FIXUP_PROTOCOL does; all of it is told, so that all of it can be known."""
        if self.maybe(0.3):
            return {"error": self.one("EFI_INVALID_PARAMETER", "EFI_NOT_FOUND", "EFI_OUT_OF_RESOURCES")}
        fixup: Json = {"patches": [{"offset": self.one(28, 36, 4000), "data": b64(b"\x11\x22\x33")}]}
        if self.maybe(0.5):
            fixup |= {"needs": self.one(10, 4096, 4097, 20000), "first_call_only": self.maybe(0.7)}
        if self.maybe(0.3):
            fixup["append"] = b64(b"appended" * self.one(1, 700))
        return fixup

    def _banks(self) -> list[str]:
        return self.one(
            ["sha256"], ["sha256"], ["sha1", "sha256"], ["sha384"], ["sha1"], ["sha256", "sha384", "sha512"]
        )

    def _console(self) -> Json:
        ports = self.one([], [], ["0x3f8"], ["0x3f8"], ["0x2f8"], ["0x3e8"], ["0x2e8"], ["0x3f8", "0x2f8"])
        if self.machine == "aa64":
            ports = []
        return {"graphics": self.maybe(0.6), "virtio": self.one(0, 0, 1, 2), "serial": ports}

    def _smbios_table(self) -> Json:
        """Mostly with nothing but the table, as efirun makes the entry point; QEMU makes its own of both."""
        table = self._smbios()
        if self.maybe(0.85):
            return {"base64": b64(table)}
        # What lies behind the table is nobody's to tell, so it has to end by itself where the size is larger.
        ends = table.endswith(smbios.build_structure(smbios.END_OF_TABLE, b"", (), 0)[:1] + b"\4") or None
        size = max(len(table) + self.one(0, 0, 0, -1, -2, -6, -20, *((100, 0xFFFF) if ends else ())), 0)
        if self.maybe(0.5):
            entry = struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 24, 3, 2, 0, 1, 0, size, 0)
        else:
            entry = struct.pack(
                "<4sBBBBHB5s5sBHIHB", b"_SM_", 0, 31, 2, 8, 64, 0, b"", b"_DMI_", 0, min(size, 0xFFFF), 0, 9, 0x28
            )
        return {"base64": b64(table), "entry_point": b64(entry)}

    def _smbios(self) -> bytes:
        """The table of the machine's fields, sometimes one that firmware should not make."""
        texts = self._oem_strings()
        table = smbios.from_fields(self.fields, texts)
        if self.maybe(0.85):
            return table
        parts = [part.raw for part in smbios.parse(table)]
        kind = self.random.randint(0, 6)
        if kind == 6:
            # A longer type 11, or one that is too short, in place of the usual one.
            tail = bytes(self.one(0, 1, 2, 6, 20, 100))
            longer = smbios.build_structure(11, tail, [b"first", *self._oem_strings()])
            return b"".join([*(part for part in parts if part[0] not in (11, 127)), longer, *self.one([], parts[-1:])])
        if kind == 5:
            # Of which no structure can be read is no table to the simulator.
            return table[: self.random.randrange(parts[0][1], len(table))]
        if kind == 0:
            # The first type 1 counts, and this one may be too short to count.
            tail = bytes(self.one(0, 8, 22, 23, 24))
            parts.insert(0, smbios.build_structure(1, tail, [b"Other"]))
        elif kind == 1:
            self.random.shuffle(parts)
        elif kind == 2:
            parts.insert(1, smbios.build_structure(11, b"\1", [b"first", *self._oem_strings()]))
        elif kind == 3:
            parts = parts[:-1]
        else:
            parts.insert(
                1, smbios.build_structure(self.one(2, 126, 200), bytes(self.one(0, 3, 4)), self.one([b"x"], []))
            )
        return b"".join(parts)

    def _oem_strings(self) -> list[bytes]:
        extra, level = b"io.systemd.stub.kernel-cmdline-extra=", b"io.systemd.boot.loglevel="
        found: list[bytes] = []
        if self.maybe(0.3):
            found.append(extra + (self.line().partition(b"\0")[0]))
        if self.maybe(0.08):
            found.append(level + self.one(b"debug", b"err", b"info", b"crit", b"bogus", b"warning", b"", b"7"))
        if self.maybe(0.2):
            found.append(
                self.one(
                    b"text",
                    b"IO.systemd.stub.kernel-cmdline-extra=no",
                    extra,
                    extra + b"two",
                    b" " + extra + b"blank",
                    b"io.systemd.boot.kernel-cmdline-extra=loader",
                    b"io.systemd.credential:a=b",
                    extra[:-1],
                    extra + b'\xc3\xbc \xff\xe4 "q" \\',
                    extra + b"\tx\n",
                    b"io.systemd.stub.kernel-cmdline-extra",
                    b"io.systemd.boot.loglevel=debug ",
                    extra + b"long " * 400,
                    level,
                    b"io.systemd.boot.loglevel",
                )
            )
        if self.maybe(0.3):
            self.random.shuffle(found)
        return found

    def boot_secret(self) -> Json:
        return {"name": "LoaderBootSecret", "guid": str(LOADER), "attributes": 3, "data": b64(b"\x42" * 32)}

    def _variables(self) -> list[Json]:
        text = "Preset\0".encode("utf-16-le")
        values: dict[str, tuple[int, bytes]] = {
            "LoaderDevicePartUUID": (6, text), "LoaderImageIdentifier": (6, text), "LoaderFirmwareInfo": (6, text),
            "LoaderFirmwareType": (6, text), "LoaderInfo": (6, text), "LoaderFeatures": (6, bytes(8)),
            "LoaderPcrSMBIOS": (6, "1\0".encode("utf-16-le")), "LoaderKeyboardLayout": (6, text),
            "LoaderTpm2ActivePcrBanks": (6, text), "StubInfo": (6, text), "StubFeatures": (6, bytes(8)),
            "StubProfile": (7, text), "StubPcrKernelImage": (6, text), "StubPcrKernelParameters": (6, text),
            "StubPcrInitRDSysExts": (7, text), "StubPcrInitRDConfExts": (6, text), "StubImageIdentifier": (7, text),
            "StubDevicePartUUID": (6, text), "StubDeviceURL": (6, text), "LoaderDeviceURL": (6, text),
            "LoaderEntrySelected": (6, text), "LoaderTimeExecUSec": (6, text), "LoaderPcrX": (6, text),
            "LoaderSystemToken": (self.one(3, 7), bytes(self.one(1, 31, 32, 64))),
            "LoaderBootSecret": (self.one(3, 3, 7), b"\x42" * self.one(31, 32, 32, 33)),
        }  # fmt: skip
        often = 0.03 if self.maybe(0.8) else 0.3
        return [
            {
                "name": name,
                "guid": str(LOADER if self.maybe(0.95) else GLOBAL),
                "attributes": attributes if self.maybe(0.9) else self.one(2, 3, 6, 7),
                "data": b64(data),
            }
            for name, (attributes, data) in values.items()
            if self.maybe(often)
        ]
