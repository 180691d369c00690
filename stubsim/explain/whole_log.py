"""The complete event log of a boot: what the firmware measures, and between that what loader, stub and kernel do.

The order is OVMF's, recorded. Each event is computed from the files at hand, taken from a log of the same machine, or
unknown with the reason; nothing in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from stubsim import extent
from stubsim.errors import StubsimError
from stubsim.explain.boot_manager import boot_manager_pcr
from stubsim.extent import Bytes
from stubsim.formats import pe, signature_list
from stubsim.machine.tpm import Tpm
from stubsim.result import Boot
from stubsim.start import Start
from stubsim.systemd.smbios import EVENTS as SMBIOS_EVENTS
from stubsim.trace import Event, ImageLoaded, Measured, Unknown
from stubsim.uefi.builds import AFTER_SEPARATORS, BEFORE_BOOT_VARIABLES
from stubsim.uefi.image_path import QEMU_KERNEL
from stubsim.uefi.image_verification import Databases
from stubsim.uefi.measured import (
    acpi_data,
    actions,
    boot_variables,
    crtm,
    handoff_tables,
    images,
    partition_table,
    secure_boot_policy,
)
from stubsim.uefi.measured.row import Row, unknown
from stubsim.uefi.platform import Platform
from stubsim.uki import Uki

COMPUTED, BASELINE, UNKNOWN = "computed", "baseline", "unknown"
_APPLICATION = "EV_EFI_BOOT_SERVICES_APPLICATION"
_DRIVERS = 2, "EV_EFI_BOOT_SERVICES_DRIVER"
_AUTHORITY = "EV_EFI_VARIABLE_AUTHORITY"
_PLATFORM_CONFIG, _BOOT_MANAGER, _GPT = 1, 4, 5
# What a boot whose stages leave something open may have otherwise.
_OF_THE_CHAIN = (9, 11, 12, 13)
# Extended by nothing before the system runs: zero says something as well.
_ALWAYS = (11, 12, 13)


class LogEvent(NamedTuple):
    """One event; without ``digests`` it is not known, and then there may be more than one, or none.

    ``data`` are the event's bytes as the log holds them, addresses of the machine's memory as 0; ``how`` is computed,
    baseline or unknown.
    """

    by: str
    pcr: int
    type: str | None
    description: str
    digests: dict[str, bytes] | None
    data: bytes
    how: str
    because: str | None = None


class WholeLog(NamedTuple):
    """The events in the order of the log, and what was taken for granted."""

    banks: tuple[str, ...]
    events: tuple[LogEvent, ...]
    assumed: tuple[str, ...]

    @property
    def unknown_pcrs(self) -> dict[int, str]:
        """The registers that have no value, with the first reason."""
        found: dict[int, str] = {}
        for event in self.events:
            if event.digests is None:
                found.setdefault(event.pcr, event.because or event.description)
        return found

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        """Bank -> PCR -> value when the kernel has left boot services; only registers of which every event is known."""
        tpm, lost = Tpm(self.banks), self.unknown_pcrs
        for event in self.events:
            if event.digests is not None:
                tpm.extend(event.pcr, event.digests)
        return {
            bank: {pcr: value for pcr, value in values.items() if pcr not in lost}
            for bank, values in tpm.pcrs().items()
        }


def whole_log(boot: Boot, platform: Platform, start: Start) -> WholeLog:
    """The log of a boot that was simulated on this platform's host.

    Raises StubsimError where there is no TPM, and for an image that has no Authenticode digest.
    """
    banks = tuple(boot.host.tpm or ())
    if not banks:
        raise StubsimError(
            "nothing is measured, so there is no event log: the host has no TPM",
            hint='a host file gives it one with "tpm": {"banks": ["sha256"]}',
        )
    writer = _Writer(boot, platform, banks)
    writer.write(start)
    return WholeLog(banks, tuple(writer.events), tuple(dict.fromkeys((*boot.assumed, *_assumed(platform)))))


def _assumed(platform: Platform) -> Iterator[str]:
    build = platform.build
    if build is not None and build.has_platform_info:
        yield crtm.ASSUMES_TCG
    if platform.firmware is not None and not platform.option_roms:
        yield "no --option-rom: no device has an option ROM with an EFI program (PCR 2)"


class _Writer:
    """The log on its way."""

    def __init__(self, boot: Boot, platform: Platform, banks: tuple[str, ...]) -> None:
        self.boot = boot
        self.platform = platform
        self.banks = banks
        self.events: list[LogEvent] = []
        self.is_on = secure_boot_policy.secure_boot(platform)
        self.logged: set[bytes] = set()
        self.gpt_is_measured = False
        # Its LoadImage() is shim's then, which looks at no db of the firmware's (loader-proto.c; recorded with 16.1).
        self.through_shim = False

    def write(self, start: Start) -> None:
        platform, build, trace = self.platform, self.platform.build, list(self.boot.trace)
        self._rows(crtm.events(platform))
        self._rows(secure_boot_policy.events(platform))
        self._row(actions.separator(7))
        self._rows(acpi_data.events(platform))
        self._option_roms()
        if self.boot.image is not None and self.boot.image.path == QEMU_KERNEL:
            # Loaded before there is a boot option (recorded: qemukernel257, qemukernel262).
            kernel = next((event for event in trace if isinstance(event, ImageLoaded)), None)
            if kernel is not None:
                trace.remove(kernel)
                self._image(kernel)
        if build is None:
            self._row(unknown(1, "EV_EFI_HANDOFF_TABLES", "SMBIOS", platform.no_build))
        elif build.handoff_tables == BEFORE_BOOT_VARIABLES:
            self._rows(handoff_tables.events(platform))
        self._rows(boot_variables.events(platform))
        self._rows(actions.ready_to_boot())
        if build is not None and build.handoff_tables == AFTER_SEPARATORS:
            self._rows(handoff_tables.events(platform))
        self._chain(trace, start)
        if self.boot.outcome.status == "kernel-started":
            self._rows(actions.exit_boot_services(platform))

    def _chain(self, trace: Sequence[Event], start: Start) -> None:
        """What is started one by the other, with what each measures."""
        if self.boot.outcome.status == "kernel-started":
            other = boot_manager_pcr(self.boot, start)
            if isinstance(other, str) and _BOOT_MANAGER not in _registers(trace):
                self._row(unknown(_BOOT_MANAGER, _APPLICATION, "images", other))
        doubted = self._doubted()
        for event in trace:
            if isinstance(event, Measured):
                self._measured(event, doubted.get(event.pcr))
            elif isinstance(event, ImageLoaded):
                self._image(event)
            elif isinstance(event, Unknown) and event.what not in self.boot.host.unknown:
                self._left_open(event)

    def _doubted(self) -> dict[int, str]:
        """The registers that hang on what is not known of the host."""
        return {
            pcr: f"{event.what} of the machine is not known"
            for event in self.boot.trace
            if isinstance(event, Unknown) and event.what in self.boot.host.unknown
            for pcr in event.pcrs
        }

    def _measured(self, event: Measured, doubt: str | None) -> None:
        digests = {bank: event.digests[bank] for bank in self.banks} if doubt is None else None
        how = COMPUTED if doubt is None else UNKNOWN
        self.events.append(
            LogEvent(event.by, event.pcr, event.type, event.description, digests, event.data, how, doubt)
        )

    def _left_open(self, event: Unknown) -> None:
        pcrs = event.pcrs
        if not pcrs and event.what == SMBIOS_EVENTS:
            pcrs = (_PLATFORM_CONFIG,)
        elif not pcrs and "pcrs" in event.affects:
            pcrs = _OF_THE_CHAIN
        for pcr in pcrs:
            self.events.append(LogEvent("stub", pcr, None, event.what, None, b"", UNKNOWN, event.why))

    def _rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._row(row)

    def _row(self, row: Row) -> None:
        digests = None if row.content is None else self.boot.digests.of(row.content, self.banks)
        how = UNKNOWN if digests is None else COMPUTED
        self.events.append(
            LogEvent("firmware", row.pcr, row.type, row.description, digests, row.data, how, row.because)
        )

    def _option_roms(self) -> None:
        for image, row in images.option_roms(self.platform):
            if image is None:
                self._row(row)
            else:
                self._hashed(image.data, row)

    def _image(self, event: ImageLoaded) -> None:
        """LoadImage(): which entry of db vouches for it, the disk it comes from, the image."""
        self._authority(event)
        if event.path != QEMU_KERNEL and not self.gpt_is_measured:
            self.gpt_is_measured = True
            self._rows(partition_table.events(self.platform))
        pcr, kind = _DRIVERS if event.subsystem != pe.APPLICATION else (_BOOT_MANAGER, _APPLICATION)
        image = pe.open_bytes(event.data, event.path)
        self.through_shim |= event.by == "shim"
        path = images.file_alone(event.path) if self.through_shim else images.path_on_disk(self.platform, event.path)
        data = images.load_event(image, len(event.data), path)
        self._hashed(event.data, Row(pcr, kind, event.path, None, data))

    def _hashed(self, data: Bytes, row: Row) -> None:
        """An image by its Authenticode digest."""
        digests = {bank: self.boot.uki.authenticode(bank, extent.of_bytes(data)) for bank in self.banks}
        self.events.append(LogEvent("firmware", row.pcr, row.type, row.description, digests, row.data, COMPUTED))

    def _authority(self, event: ImageLoaded) -> None:
        if self.is_on is False or self.through_shim or event.by == "shim":
            return
        if isinstance(self.is_on, str):
            if not self.logged:
                self.logged.add(b"")
                self._row(unknown(7, _AUTHORITY, "db", self.is_on))
            return
        entry = databases(self.platform).authority(Uki(pe.open_bytes(event.data, event.path)))
        if entry is not None and entry.signature_data not in self.logged:
            self.logged.add(entry.signature_data)
            self._row(secure_boot_policy.authority(entry))


def _registers(trace: Iterable[Event]) -> set[int]:
    """Those of which the boot itself leaves something open."""
    return {pcr for event in trace if isinstance(event, Unknown) for pcr in event.pcrs}


def databases(platform: Platform) -> Databases:
    """What the store trusts and what it does not. Raises StubsimError for lists that cannot be read."""
    rows: list[tuple[signature_list.Entry, ...]] = []
    for name in ("db", "dbx"):
        content: Bytes | None = platform.variable(name, secure_boot_policy.IMAGE_SECURITY)
        try:
            rows.append(signature_list.parse(bytes(content or b"")))
        except StubsimError as error:
            raise error.within(section=name) from None
    return Databases(*rows)
