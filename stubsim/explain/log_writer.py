"""The events of a log one after the other: the firmware's by its own order, and between them what the stages measure.

The order is OVMF's, recorded. Each event is computed from the files at hand, taken from a log of the same machine, or
unknown with the reason; nothing in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from stubsim import extent
from stubsim.explain.boot_manager import boot_manager_pcr, starts_the_same
from stubsim.explain.predicted_log import BASELINE, COMPUTED, UNKNOWN, LogEvent
from stubsim.extent import Bytes
from stubsim.formats import eventlog, pe
from stubsim.hosts import Host
from stubsim.machine.tpm import BANKS
from stubsim.result import Boot
from stubsim.start import Start
from stubsim.systemd.smbios import EVENTS as SMBIOS_EVENTS
from stubsim.trace import Event, ImageLoaded, Measured, Unknown
from stubsim.uefi.baseline import DXE_VOLUME, PEI_VOLUME, Baseline, Source, described, hashed_by, source
from stubsim.uefi.builds import AFTER_SEPARATORS, BEFORE_BOOT_VARIABLES
from stubsim.uefi.image_path import QEMU_KERNEL
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

_APPLICATION = "EV_EFI_BOOT_SERVICES_APPLICATION"
_DRIVERS = 2, "EV_EFI_BOOT_SERVICES_DRIVER"
_AUTHORITY = "EV_EFI_VARIABLE_AUTHORITY"
_PLATFORM_CONFIG, _BOOT_MANAGER, _GPT = 1, 4, 5
_BLOB, _HANDOFF = "EV_EFI_PLATFORM_FIRMWARE_BLOB", "EV_EFI_HANDOFF_TABLES"
_ACPI = "EV_PLATFORM_CONFIG_FLAGS"
# Sources that follow from the firmware's code, and those that not every firmware has.
_BY_CODE = {(0, "EV_S_CRTM_VERSION"), (0, _BLOB), (1, _ACPI), (1, _HANDOFF), (5, "EV_EFI_ACTION")}
_OPTIONAL = {(1, _ACPI), (1, _HANDOFF), _DRIVERS}
# Computed for one kind of processor; a log of the machine knows its own.
_PEI_VOLUME = source(0, _BLOB, PEI_VOLUME)
# What a boot whose stages leave something open may have otherwise.
_OF_THE_CHAIN = (9, 11, 12, 13)
# The stage whose register it is, where that is not the stub.
_MEASURED_BY = {5: "loader", 7: "shim", 9: "kernel", 14: "shim"}
# Extended by nothing before the system runs: zero says something as well.
_ALWAYS = (11, 12, 13)


class Writer:
    """The log on its way."""

    def __init__(self, boot: Boot, platform: Platform, banks: Sequence[str]) -> None:
        self.boot = boot
        self.platform = platform
        self.banks = banks
        self.events: list[LogEvent] = []
        self.is_on = secure_boot_policy.secure_boot(platform)
        self.logged: set[bytes] = set()
        self.gpt_is_measured = False
        # What the baseline has otherwise than the files.
        self.disagreeing: list[str] = []
        # Its LoadImage() is shim's then, which looks at no db of the firmware's (loader-proto.c; recorded with 16.1).
        self.through_shim = False
        self.is_other_firmware = self._is_of_other_firmware()
        self.unrecorded = _unrecorded(boot.host)

    def write(self, start: Start) -> None:
        """All events of the boot, in order."""
        platform, trace = self.platform, list(self.boot.trace)
        self._rows(crtm.events(platform))
        self._rows(secure_boot_policy.events(platform))
        self._row(actions.separator(7))
        self._rows(acpi_data.events(platform))
        self._option_roms()
        self._given_kernel(trace)
        order = self._order_of_tables()
        if order == BEFORE_BOOT_VARIABLES:
            self._handoff_tables()
        self._rows(boot_variables.events(platform))
        self._rows(actions.ready_to_boot())
        if order == AFTER_SEPARATORS:
            self._handoff_tables()
        self._chain(trace, start)
        if self.boot.outcome.status == "kernel-started":
            self._rows(actions.exit_boot_services(platform))

    def is_computed(self, description: str) -> bool:
        """Whether an event of PCR 0 is, and not taken from a log."""
        return any((event.pcr, event.description, event.how) == (0, description, COMPUTED) for event in self.events)

    def _given_kernel(self, trace: list[Event]) -> None:
        """QEMU's -kernel is loaded before there is a boot option (recorded: qemukernel257, qemukernel262)."""
        if self.boot.image is None or self.boot.image.path != QEMU_KERNEL:
            return
        kernel = next((event for event in trace if isinstance(event, ImageLoaded)), None)
        if kernel is not None:
            trace.remove(kernel)
            self.gpt_is_measured = True
            self._image(kernel)

    def _order_of_tables(self) -> str | None:
        """Where the handed-over tables are measured, None: nowhere."""
        build, baseline = self.platform.build, self.platform.baseline
        if build is not None:
            return build.handoff_tables
        return AFTER_SEPARATORS if baseline is not None and baseline.handoff_after_separators else BEFORE_BOOT_VARIABLES

    def _handoff_tables(self) -> None:
        if self.platform.build is None:
            self._rows([unknown(1, _HANDOFF, "SMBIOS", self.platform.no_build)])
        else:
            self._rows(handoff_tables.events(self.platform))

    def _chain(self, trace: Sequence[Event], start: Start) -> None:
        """What is started one by the other, with what each measures."""
        if self.boot.outcome.status == "kernel-started":
            why = self._other_images(start)
            if why is not None and _BOOT_MANAGER not in _registers(trace):
                self._row(unknown(_BOOT_MANAGER, _APPLICATION, "images", why))
        doubted = self._doubted()
        for pcr in sorted(doubted.keys() - {event.pcr for event in trace if isinstance(event, Measured)}):
            self.events.append(
                LogEvent(
                    _MEASURED_BY.get(pcr, "stub"), pcr, None, "what else is measured", None, b"", UNKNOWN, doubted[pcr]
                )
            )
        for event in trace:
            if isinstance(event, Measured):
                self._measured(event, doubted.get(event.pcr))
            elif isinstance(event, ImageLoaded):
                self._image(event)
            elif isinstance(event, Unknown) and event.what not in self.boot.host.unknown:
                self._left_open(event)
        told = {event.pcr for event in trace if isinstance(event, Measured)}
        for pcr in sorted(doubted.keys() - told):
            # Nothing is measured into it here, and might be on such a machine.
            self.events.append(LogEvent("stub", pcr, None, "events", None, b"", UNKNOWN, doubted[pcr]))

    def _other_images(self, start: Start) -> str | None:
        """Why it is not known which images PCR 4 has, None where it is."""
        told = boot_manager_pcr(self.boot, start)
        if isinstance(told, str):
            return told
        others = (row for row in self.boot.others if not starts_the_same(self.boot, row.boot))
        return next((f"{' and '.join(sorted(row.keys))} of the machine is not known" for row in others), None)

    def _doubted(self) -> dict[int, str]:
        """The registers that hang on what is not known of the host, also those that the firmware extends before."""
        found = {
            pcr: f"{event.what} of the machine is not known"
            for event in self.boot.trace
            if isinstance(event, Unknown) and event.what in self.boot.host.unknown
            for pcr in event.pcrs
        }
        for other in self.boot.others:
            because = f"{' and '.join(sorted(other.keys))} of the machine is not known"
            found |= dict.fromkeys(_differing(self.boot, other.boot, self.banks) - found.keys(), because)
        return found

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
            self.events.append(
                LogEvent(_MEASURED_BY.get(pcr, "stub"), pcr, None, event.what, None, b"", UNKNOWN, event.why)
            )

    def _rows(self, rows: Iterable[Row]) -> None:
        """The events of one source, or the baseline's where they are not known."""
        rows = map(self._recorded, rows)
        for key, group in groupby(rows, lambda row: source(row.pcr, row.type, row.description)):
            self._source(key, list(group))

    def _recorded(self, row: Row) -> Row:
        """An event as far as a firmware of this kind of machine is known to measure it; some every firmware does."""
        by_all = row.type == "EV_SEPARATOR" or row.pcr == _BOOT_MANAGER
        by_all |= row.pcr == _GPT and row.type == "EV_EFI_GPT_EVENT" and self.boot.host.confidential != "tdx"
        if self.unrecorded is None or by_all:
            return row
        return row._replace(content=None, because=row.because or self.unrecorded)

    def _source(self, key: Source, rows: list[Row]) -> None:
        baseline = self.platform.baseline
        if baseline is None or not self._is_from(baseline, key, rows):
            if baseline is not None and not self._agree(baseline.of(key), rows):
                self.disagreeing.append(rows[0].description if key[2] or len(rows) == 1 else key[1])
            for row in rows:
                self._row(row)
            return
        for event in baseline.of(key):
            name = described(event) or rows[0].description
            self.events.append(self._logged(event, key[1], name))

    def _agree(self, logged: Sequence[eventlog.Event], rows: list[Row]) -> bool:
        """Whether the baseline has what the files tell, as far as both tell something."""
        contents = [row.content for row in rows if row.content is not None]
        if not logged or len(contents) < len(rows) or self.is_other_firmware:
            return True
        banks = [bank for bank in self.banks if all(bank in event.digests for event in logged)]
        return [{bank: event.digests[bank] for bank in banks} for event in logged] == [
            self.boot.digests.of(content, banks) for content in contents
        ]

    def _logged(self, event: eventlog.Event, kind: str, name: str) -> LogEvent:
        """An event of the baseline; in a bank that it has not, hashed anew where the event holds what was hashed."""
        lacking = [bank for bank in self.banks if bank not in event.digests]
        content = hashed_by(event) if lacking else None
        if lacking and content is None:
            why = f"the baseline has no {lacking[0]} bank"
            return LogEvent("firmware", event.pcr, kind, name, None, b"", UNKNOWN, why)
        digests = event.digests if content is None else event.digests | self.boot.digests.of(content, lacking)
        kept = {bank: digests[bank] for bank in self.banks}
        return LogEvent("firmware", event.pcr, kind, name, kept, event.data, BASELINE)

    def _is_from(self, baseline: Baseline, key: Source, rows: list[Row]) -> bool:
        """Whether the baseline tells of a source: what is not known, and of the PEI volume what it says itself."""
        if self.is_other_firmware and key[:2] in _BY_CODE:
            return False
        logged = baseline.of(key)
        if any(row.content is None for row in rows):
            return bool(logged) or key[:2] in _OPTIONAL
        return key == _PEI_VOLUME and bool(logged)

    def _is_of_other_firmware(self) -> bool:
        """Whether the baseline was taken with other code than is at hand."""
        platform = self.platform
        if platform.baseline is None or platform.firmware is None or platform.firmware.dxe is None:
            return False
        logged = platform.baseline.of(source(0, _BLOB, DXE_VOLUME))
        if not logged:
            return False
        banks = [bank for bank in logged[0].digests if bank in BANKS]
        digests = self.boot.digests.of(platform.firmware.dxe, banks)
        return any(logged[0].digests[bank] != digests[bank] for bank in banks)

    def _row(self, row: Row) -> None:
        digests = None if row.content is None else self.boot.digests.of(row.content, self.banks)
        how = UNKNOWN if digests is None else COMPUTED
        self.events.append(
            LogEvent("firmware", row.pcr, row.type, row.description, digests, row.data, how, row.because)
        )

    def _option_roms(self) -> None:
        if not self.platform.option_roms and self.platform.baseline is not None:
            self._rows([unknown(*_DRIVERS, "option ROM", "the ROMs are not at hand (--option-rom)")])
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
        if self.boot.host.confidential == "tdx" and self.boot.host.tpm:
            # DxeTpm2MeasureBootLib measures by the CC protocol alone where there is one; other firmware by both.
            self._row(row._replace(because=self.unrecorded))
            return
        digests = {bank: self.boot.uki.authenticode(bank, extent.of_bytes(data)) for bank in self.banks}
        self.events.append(LogEvent("firmware", row.pcr, row.type, row.description, digests, row.data, COMPUTED))

    def _authority(self, event: ImageLoaded) -> None:
        if self.is_on is False or self.through_shim or event.by == "shim":
            return
        if isinstance(self.is_on, str):
            if not self.logged:
                self.logged.add(b"")
                self._rows([unknown(7, _AUTHORITY, "db", self.is_on)])
            return
        entry = secure_boot_policy.databases(self.platform).authority(Uki(pe.open_bytes(event.data, event.path)))
        if entry is not None and entry.signature_data not in self.logged:
            self.logged.add(entry.signature_data)
            self._row(secure_boot_policy.authority(entry))


def _unrecorded(host: Host) -> str | None:
    """Why it is not known what the firmware measures, of whatever build it is."""
    if "confidential" in host.unknown:
        return "it is not known whether this is a confidential guest"
    if host.confidential is not None and host.tpm:
        return "what a firmware measures into the TPM of a confidential guest was never recorded"
    return None


def _differing(one: Boot, other: Boot, banks: Sequence[str]) -> set[int]:
    """The registers into which stages measure other things; one of the boots may measure nothing, or end otherwise."""
    common = [bank for bank in banks if bank in (other.host.tpm or ())] or banks
    mine, theirs = (_measured_by(boot, common) for boot in (one, other))
    if one.outcome.status != other.outcome.status or not mine or not theirs:
        return set()
    return {pcr for pcr in mine.keys() | theirs.keys() if mine.get(pcr) != theirs.get(pcr)}


def _measured_by(boot: Boot, banks: Sequence[str]) -> dict[int, list[object]]:
    """Register -> what is measured, with the digests that there are of these banks."""
    found: dict[int, list[object]] = {}
    for event in boot.events(Measured):
        digests = [event.digests[bank] for bank in banks if bank in event.digests]
        found.setdefault(event.pcr, []).append((event.description, digests))
    return found


def _registers(trace: Iterable[Event]) -> set[int]:
    """Those of which the boot itself leaves something open."""
    return {pcr for event in trace if isinstance(event, Unknown) for pcr in event.pcrs}
