"""The SEV-SNP launch measurement that the chosen firmware would have, by the package sev-snp-measure (extra `snp`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.formats import ovmf, payload
from stubsim.result import Boot
from stubsim.rows import NamedTuple

if TYPE_CHECKING:
    from sevsnpmeasure.vmm_types import VMMType

OPTION = "--snp"
_EXAMPLE = "vcpus=4,type=EPYC-v4"
# Name in the option -> the tool's own option.
KEYS = {"vcpus": "--vcpus", "type": "--vcpu-type", "guest_features": "--guest-features", "vmm": "--vmm-type"}
# As the tool has them: SNP active, and QEMU.
_GUEST_FEATURES, _VMM = 0x1, "QEMU"
# What KVM can have; the tool makes a page for each.
_VCPUS_MAX = 4096
_PAGE = 4096
# All the memory that a hypervisor prepares for OVMF is a few hundred KiB.
_PREPARED_MAX = 256 << 20
# Kernel, initrd and command line, as for -kernel with kernel-hashes=on.
_NO_HASHES = (None, None, None)

_INCLUDED = (
    "the firmware image, page by page, ending at 4 GiB",
    "the memory that its SEV metadata list",
    "the initial registers of each vCPU (VMSA), as the tool knows them of this hypervisor",
)
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


class Launch(NamedTuple):
    """A launch measurement (48 bytes), what it was computed for, and in words what is in it."""

    measurement: bytes
    request: Request
    fwid: str
    tool: str
    included: tuple[str, ...] = _INCLUDED
    excluded: tuple[str, ...] = _EXCLUDED


def parse(text: str) -> Request:
    """Read `vcpus=4,type=EPYC-v4`; StubsimError for what is wrong in it, or without the package."""
    types, vmms = _known()
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in KEYS or not equals:
            raise _wrong(f"{part!r} in {OPTION}", key, KEYS)
        if key in given:
            raise StubsimError(f"{key} twice in {OPTION}")
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
    return Request(vcpus, kind, features, vmm)


def measure(boot: Boot, request: Request) -> Launch:
    """The measurement of the firmware that was chosen; StubsimError when there is none or it cannot be launched so."""
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
        digest = _digest(firmware, request)
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


def _digest(data: memoryview, request: Request) -> bytes:
    from tempfile import NamedTemporaryFile

    from sevsnpmeasure.guest import calc_launch_digest
    from sevsnpmeasure.sev_mode import SevMode

    types, vmms = _known()
    signature = None if request.vcpu_type is None else types[request.vcpu_type]
    try:
        # The tool takes the image by name alone.
        with NamedTemporaryFile(prefix="stubsim-", suffix=".fd") as file:
            file.write(data)
            file.flush()
            digest: bytes = calc_launch_digest(
                SevMode.SEV_SNP,
                request.vcpus,
                signature,
                file.name,
                *_NO_HASHES,
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
