"""Which stub an image has and by which model it is simulated; or what the file is that is no UKI."""

from __future__ import annotations

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats import efi_program
from stubsim.formats.efi_program import LANZABOOTE, STUBBLE, SYSTEMD_STUB
from stubsim.linux.identify import identify
from stubsim.rows import NamedTuple
from stubsim.stub.models import NEWEST, Choice, StubModel, choose, in_doubt
from stubsim.systemd.release import parse
from stubsim.uki import Uki

_NEWEST_STUBBLE = "14"
# Recorded with Debian's 14-1, on x86-64 and arm64; its steps are in stubble.py.
STUBBLE_14 = NEWEST._replace(
    id="stubble-14",
    name=STUBBLE,
    recorded=_NEWEST_STUBBLE,
    sections=(".linux", ".cmdline", ".initrd", ".dtb", ".dtbauto", ".hwids"),
    stub_features=None,
    # Without type 11, which systemd-stub has at the end (recorded: chid-type11-none).
    chid_priority=tuple(kind for kind in chid.PRIORITY if kind != 11),
    matches_firmware_entries=False,
    checks_hwids_offsets=False,
    takes_profiles=False,
    takes_log_level=False,
)  # fmt: skip
# For versions that nobody has recorded.
_STUBBLE_ASSUMED = STUBBLE_14._replace(recorded=None)

_PAYLOADS = (".cmdline", ".dtb", ".dtbauto", ".initrd", ".ucode", ".efifw", ".hwids")
_KINDS = {
    "systemd-boot": "a boot loader", "shim": "a boot loader", "grub": "a boot loader", "refind": "a boot loader",
    "fwupd-efi": "a firmware updater", "memtest86+": "a memory test",
}  # fmt: skip
_ITS_UKI = "give the UKI that it starts"
_BESIDE = "give the UKI, with --esp for the tree that has the addon beside it or in loader/addons"
_KERNEL = "give the UKI that has it as its .linux"


class Program(NamedTuple):
    """What a file is that is no UKI, in words, and what to give in its place."""

    name: str
    what: str
    instead: str


def not_a_uki(uki: Uki) -> Program | None:
    """What a file without a `.linux` is; None for a UKI, and where nothing tells."""
    image = uki.image
    stubs = (SYSTEMD_STUB, STUBBLE, LANZABOOTE)
    if efi_program.has_kernel(image) or (uki.stub is not None and uki.stub.name in stubs):
        return None
    linux = identify(image.data)
    if linux is not None:
        return Program("linux", f"a Linux kernel ({linux.format}), not a UKI", _KERNEL)
    named, components = efi_program.sdmagic(image, uki.loaded), efi_program.sbat(image, uki.loaded)
    name, version = named[:2] if named else next(iter(efi_program.programs(components)), ("", ""))
    if name in (SYSTEMD_STUB, STUBBLE):
        return None
    if name == "systemd-addon" or "uki-addon" in components:
        return Program("addon", "an addon, not a UKI", _BESIDE)
    if name:
        # Up to 255 .sbat has one name for all of systemd.
        name = "systemd-boot" if name == "systemd" else name
        what = f"{_KINDS.get(name, 'an EFI program')} ({name} {version}), not a UKI"
        return Program(name, what, _ITS_UKI)
    if any(section.name in _PAYLOADS for section in image.sections):
        return Program("addon", "an addon, not a UKI: it has no .linux", _BESIDE)
    return None


def model_for(uki: Uki, override: str | StubModel | None = None) -> Choice:
    """The model of the stub in an image, or the one asked for, by the name that ``--stub`` has or as it is.

    Raises StubsimError for an unknown name given by the user. A stub whose rules nobody here knows is no error, and
    gets a model without steps: never another stub's.
    """
    if isinstance(override, StubModel):
        return Choice(override, "as asked for")
    if override is not None:
        if override in (STUBBLE, STUBBLE_14.id):
            return Choice(STUBBLE_14, f"--stub {override}")
        try:
            return choose(None, override)
        except StubsimError as error:
            error.expected = f"{error.expected}, {STUBBLE}"
            raise
    program = not_a_uki(uki)
    if program is not None:
        return Choice(_unsimulated(program.name), f"the file is {program.what}")
    if uki.stub is None or uki.stub.name == SYSTEMD_STUB:
        return choose(uki.stub)
    name, version, _ = uki.stub
    if name == STUBBLE:
        return _stubble(version)
    return Choice(_unsimulated(name), f"the image has another stub, {name} {version}".rstrip())


def _stubble(version: str) -> Choice:
    if not version:
        return Choice(_STUBBLE_ASSUMED, f"{STUBBLE} without a version: {_NEWEST_STUBBLE} is assumed")
    number = parse(version)
    if number is not None and str(number.major) == _NEWEST_STUBBLE:
        return Choice(STUBBLE_14, f"{STUBBLE} {version} in the UKI")
    model = in_doubt(STUBBLE_14, f"what {STUBBLE} {version} does otherwise than {_NEWEST_STUBBLE}")
    return Choice(model, f"{STUBBLE} {version} was never recorded: {_NEWEST_STUBBLE} is assumed")


def _unsimulated(name: str) -> StubModel:
    """A place-holder for a program whose behaviour is not known: it has no steps, and settles on no section."""
    return STUBBLE_14._replace(id=name, basis="none", recorded=None, sections=(), chid_priority=(), name=name)
