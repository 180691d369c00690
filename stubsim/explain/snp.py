"""The SEV-SNP launch measurement of a firmware, by the package sev-snp-measure (extra `snp`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.formats import ovmf, payload
from stubsim.formats.efi_string import from_utf16
from stubsim.result import Boot
from stubsim.rows import NamedTuple
from stubsim.uefi.image_path import QEMU_KERNEL

if TYPE_CHECKING:
    from sevsnpmeasure.vmm_types import VMMType

OPTION = "--snp"
_EXAMPLE = "vcpus=4,type=EPYC-v4"
# Name in the option -> the tool's own option.
KEYS = {"vcpus": "--vcpus", "type": "--vcpu-type", "guest_features": "--guest-features", "vmm": "--vmm-type"}
# QEMU's own name of it (sev-snp-guest); the tool is given the files.
_HASHES, _SWITCH = "kernel_hashes", {"on": True, "off": False}
# As the tool has them: SNP active, and QEMU.
_GUEST_FEATURES, _VMM = 0x1, "QEMU"
# What KVM can have; the tool makes a page for each.
_VCPUS_MAX = 4096
_PAGE, _PAGE_OF_HASHES = 4096, "KERNEL_HASHES"
# All the memory that a hypervisor prepares for OVMF is a few hundred KiB.
_PREPARED_MAX = 256 << 20
# What OVMF's load options have of -initrd: in front, with an older one behind (X86QemuLoadImageLib).
_INITRD = "initrd=initrd"

_INCLUDED = (
    "the firmware image, page by page, ending at 4 GiB",
    "the memory that its SEV metadata list",
    "the initial registers of each vCPU (VMSA), as the tool knows them of this hypervisor",
)
_WITH_HASHES = "SHA-256 of kernel, initrd and command line, which a firmware with a blob verifier checks (edk2, AmdSev)"
_EXCLUDED = (
    "hashes of kernel, initrd and command line: the firmware finds those in memory, so a page for hashes is zero",
    "what else the hypervisor decides: VMSAs or an order of pages other than the tool's give another measurement",
)


class Request(NamedTuple):
    """What `--snp` asks for; vcpu_type may be None where the hypervisor is not QEMU."""

    vcpus: int
    vcpu_type: str | None
    guest_features: int
    vmm: str
    kernel_hashes: bool = False


class _Given(NamedTuple):
    """What QEMU is given by -kernel, -initrd and -append."""

    kernel: memoryview
    initrd: bytes
    append: str


class Launch(NamedTuple):
    """A launch measurement (48 bytes), what it was computed for, and in words what is in it.

    ``fwid`` is of the firmware that the UKI carries, None of the machine's own.
    """

    measurement: bytes
    request: Request
    fwid: str | None
    tool: str
    included: tuple[str, ...] = _INCLUDED
    excluded: tuple[str, ...] = _EXCLUDED


def parse(text: str) -> Request:
    """Read `vcpus=4,type=EPYC-v4`; StubsimError for what is wrong in it, or without the package."""
    types, vmms = _known()
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in (*KEYS, _HASHES) or not equals:
            raise _wrong(f"{part!r} in {OPTION}", key, (*KEYS, _HASHES))
        if key in given:
            raise StubsimError(f"{key} is given twice in {OPTION}")
        given[key] = value
    vmm = given.get("vmm", _VMM)
    if vmm not in vmms:
        raise _wrong(f"unknown vmm {vmm!r} in {OPTION}", vmm, vmms)
    kind = given.get("type")
    if kind is not None and kind not in types:
        raise _wrong(f"unknown type {kind!r} in {OPTION}", kind, types)
    if kind is None and vmm == _VMM:
        raise StubsimError(f"no type in {OPTION}", expected=f"a type of vCPU, as in {_EXAMPLE}")
    if "vcpus" not in given:
        raise StubsimError(f"no vcpus in {OPTION}", expected=f"their number, as in {_EXAMPLE}")
    vcpus = _number("vcpus", given["vcpus"], 1, _VCPUS_MAX)
    features = _GUEST_FEATURES
    if "guest_features" in given:
        features = _number("guest_features", given["guest_features"], 0, (1 << 64) - 1)
    hashes = given.get(_HASHES, "off")
    if hashes not in _SWITCH:
        raise _wrong(f"{_HASHES}={hashes} in {OPTION}", hashes, _SWITCH)
    if _SWITCH[hashes] and vmm != _VMM:
        raise StubsimError(f"{_HASHES}=on in {OPTION} with vmm={vmm}", expected="vmm=QEMU, which alone has them")
    return Request(vcpus, kind, features, vmm, _SWITCH[hashes])


def measure_machine(boot: Boot, request: Request, firmware: memoryview) -> Launch:
    """The measurement of the machine's own firmware; StubsimError where it cannot be launched so.

    With kernel hashes: QEMU's table of them (target/i386/sev.c, sev_add_kernel_loader_hashes) for the UKI as -kernel.
    """
    _launchable(firmware)
    given = None
    if request.kernel_hashes:
        given = _given(boot)
        _has_place_for_hashes(firmware)
    digest = _digest(firmware, request, given)
    tool = f"sev-snp-measure {_version()}"
    if given is None:
        return Launch(digest, request, None, tool)
    return Launch(digest, request, None, tool, (*_INCLUDED, _WITH_HASHES), _EXCLUDED[1:])


def measure(boot: Boot, request: Request) -> Launch:
    """The measurement of the firmware that was chosen; StubsimError when there is none or it cannot be launched so."""
    if request.kernel_hashes:
        raise StubsimError(
            f"{_HASHES}=on in {OPTION}: a firmware that a UKI carries is started without a kernel",
            hint="stubsim log and measure have the machine's own by --firmware",
        )
    blob = None if boot.sections is None else boot.sections.efifw()
    if blob is None:
        raise StubsimError(
            f"no firmware is chosen on this machine, so {OPTION} has nothing to measure",
            path=boot.uki.path,
            hint=f"stubsim boot without {OPTION} tells why",
        )
    name = blob.fwid.decode("utf-8", "replace")
    try:
        firmware = blob.payload.view()
        _launchable(firmware)
        digest = _digest(firmware, request, None)
    except StubsimError as error:
        raise error.within(path=boot.uki.path, section=f"firmware {name}") from None
    return Launch(digest, request, name, f"sev-snp-measure {_version()}")


def _launchable(data: memoryview) -> None:
    """QEMU (target/i386/sev.c) launches no SNP guest without SEV metadata; the tool would leave out what is missing."""
    kind = payload.kind(data)
    if kind.name != "ovmf":
        raise StubsimError(
            f"no SEV-SNP launch measurement: the payload is {kind.description}", expected="an OVMF image"
        )
    if len(data) % _PAGE:
        raise StubsimError(f"an OVMF image of {len(data)} bytes", expected=f"a multiple of {_PAGE}")
    entries = ovmf.parse(data)
    metadata = ovmf.sev_metadata(data, entries)
    if metadata is None:
        raise StubsimError(
            "no SEV-SNP launch measurement: the OVMF image has no SEV metadata",
            hint="edk2 has it in builds for X64 (OvmfPkgX64.dsc, AmdSevX64.dsc)",
        )
    reset = ovmf.entry(entries, ovmf.SEV_ES_RESET)
    if reset is None or not any(reset.numbers[:1]):
        raise StubsimError("no SEV-SNP launch measurement: the OVMF image has no SEV-ES reset block")
    for section in metadata.sections:
        if section.type not in ovmf.SEV_SECTIONS or section.size % _PAGE:
            raise StubsimError(
                f"SEV metadata {section.name} of {section.size:#x} bytes",
                offset=metadata.offset,
                expected=f"a known type and a multiple of {_PAGE:#x}",
            )
    prepared = sum(section.size for section in metadata.sections)
    if prepared > _PREPARED_MAX:
        expected = f"at most {_PREPARED_MAX:#x}"
        raise StubsimError(f"SEV metadata of {prepared:#x} bytes", offset=metadata.offset, expected=expected)


def _has_place_for_hashes(data: memoryview) -> None:
    """QEMU refuses a firmware without a table's area; without a page among the metadata it would not be measured."""
    entries = ovmf.parse(data)
    metadata, area = ovmf.sev_metadata(data, entries), ovmf.entry(entries, ovmf.SEV_HASHES)
    has_page = metadata is not None and any(row.name == _PAGE_OF_HASHES for row in metadata.sections)
    if not has_page or area is None or not any(area.numbers[:1]):
        raise StubsimError(
            f"{_HASHES}=on in {OPTION}: the OVMF image has no place for them",
            hint="edk2 has it in AmdSevX64.dsc (Debian: OVMF.amdsev.fd)",
        )


def _given(boot: Boot) -> _Given:
    """As QEMU has it: the file as it is, and -append without what OVMF puts to it."""
    host, image = boot.host, boot.image
    if image is None or image.path != QEMU_KERNEL:
        expected = "--loader qemu-kernel, or a host with direct_boot"
        raise StubsimError(f"{_HASHES}=on in {OPTION}: the UKI is not given by QEMU's -kernel", expected=expected)
    for key in ("direct_boot", "direct_boot.load_options", "previous_initrd"):
        if key in host.unknown:
            raise StubsimError(f"{_HASHES}=on in {OPTION}: {key} of the machine is not known")
    text = from_utf16(image.load_options or b"").rstrip("\0")
    if host.previous_initrd is not None:
        words = (text.removeprefix(f"{_INITRD} "), text.removesuffix(f" {_INITRD}"))
        text = "" if text == _INITRD else next((found for found in words if found != text), text)
    try:
        append = text.encode("latin-1").decode("utf-8")
    except UnicodeError as error:
        raise StubsimError(
            f"{_HASHES}=on in {OPTION}: -append is not UTF-8, and the tool takes nothing else"
        ) from error
    return _Given(memoryview(bytes(boot.uki.image.data)), bytes(host.previous_initrd or b""), append)


def _digest(data: memoryview, request: Request, given: _Given | None) -> bytes:
    import os
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from sevsnpmeasure.guest import calc_launch_digest
    from sevsnpmeasure.sev_mode import SevMode

    types, vmms = _known()
    signature = None if request.vcpu_type is None else types[request.vcpu_type]
    try:
        with TemporaryDirectory(prefix="stubsim-") as folder:
            # The tool takes files by name alone.
            files: dict[str, str | None] = {"kernel": None, "initrd": None}
            contents = {"firmware": data} if given is None else given._asdict() | {"firmware": data}
            for name, content in contents.items():
                if name != "append":
                    files[name] = os.path.join(folder, name)
                    Path(folder, name).write_bytes(content)
            digest: bytes = calc_launch_digest(
                SevMode.SEV_SNP,
                request.vcpus,
                signature,
                files["firmware"],
                files["kernel"],
                files["initrd"],
                None if given is None else given.append,
                request.guest_features,
                vmm_type=vmms[request.vmm],
            )
    except Exception as error:  # the tool has no error of its own
        raise StubsimError(f"sev-snp-measure: {type(error).__name__}: {error}") from error
    return digest


def _known() -> tuple[dict[str, int], dict[str, VMMType]]:
    """The types of vCPU with their signature, and the hypervisors, that the tool knows."""
    try:
        from sevsnpmeasure.vcpu_types import CPU_SIGS
        from sevsnpmeasure.vmm_types import VMMType
    except ImportError as error:
        raise StubsimError(f"{OPTION} needs the package sev-snp-measure", hint="pip install sev-snp-measure") from error
    return CPU_SIGS, dict(VMMType.__members__)


def _version() -> str:
    from importlib.metadata import version

    return version("sev-snp-measure")


def _number(key: str, text: str, least: int, most: int) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise StubsimError(f"{key}={text} in {OPTION}", expected=f"a number from {least} to {most}")
    return value


def _wrong(message: str, word: str, known: Iterable[str]) -> StubsimError:
    from difflib import get_close_matches

    folded = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), folded, 1)
    return StubsimError(message, expected=", ".join(known), hint=f"did you mean {folded[near[0]]}?" if near else None)
