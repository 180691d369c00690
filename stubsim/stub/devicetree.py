"""Choosing and installing a devicetree (systemd-stub: devicetree.c)."""

from __future__ import annotations

from stubsim import extent
from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats import fdt
from stubsim.machine.ram import PAGE
from stubsim.rows import NamedTuple
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured, log_event
from stubsim.stub.sections import NamedAddon, Sections
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_KERNEL_IMAGE
from stubsim.trace import Staged, Unknown
from stubsim.uefi.devicetree_fixup import FixupProtocol
from stubsim.uefi.memory import OutOfResources

DEVICETREE_ADDON_EVENT_TAG = 0x6C46F751
_EMBEDDED = (".dtbauto", ".dtb")


class Devicetree(NamedTuple):
    """What the configuration table points to; the tree's own bytes, None when it does not tell its length.

    With `known` False the firmware has changed the tree in a way that the host file does not tell.
    """

    source: str
    section: int | None
    data: Bytes | None
    known: bool = True


def match_dtb(context: Context, data: Bytes, wanted: bytes | None, address: int = 0) -> str:
    """Whether a `.dtbauto` at an address fits: "match", "other", or "bad" where the stub complains.

    A firmware devicetree decides alone if it has a compatible, and blocks the .hwids look-up if it has none
    (recorded: launch-fwdtb-match, -hwids, -nocompat, -garbage); a bad blob goes unnamed then.
    """
    firmware = context.host.devicetree
    if firmware is not None:
        own = firmware_compatible(context, firmware)
        return "match" if own is not None and own == first_compatible(data, address) else "other"
    if wanted is None:
        return "other"
    compatible = first_compatible(data, address)
    if compatible is None:
        return "bad"
    return "match" if compatible == wanted else "other"


def install_devicetrees(
    context: Context, sections: Sections, addons: list[NamedAddon], parameters: Measured
) -> Devicetree | None:
    """The embedded one, then those of addons; what the kernel finds in the end."""
    if not addons and all(sections.section(name) is None for name in _EMBEDDED):
        # The fix-up is not looked for.
        return firmware_devicetree(context)
    described = context.host.devicetree_fixup
    fixup = None if described is None else FixupProtocol(described)
    installed = install_embedded_devicetree(context, sections, fixup)
    installed = install_addon_devicetrees(context, installed, addons, parameters, fixup)
    if installed is not None and not installed.known:
        what = "what EFI_DT_FIXUP_PROTOCOL makes of the devicetree"
        why = "the host file tells only that it is there, or the tree is shorter than it says"
        affects = ("devicetree", "memory", "log", *(("measurements", "pcrs", "rtmrs") if addons else ()))
        context.emit(Unknown(what, why, affects, (PCR_KERNEL_CONFIG,) if addons else ()))
    return installed


def firmware_devicetree(context: Context) -> Devicetree | None:
    """What the firmware installed."""
    tree = context.host.devicetree
    return None if tree is None else Devicetree("firmware", None, _tree(tree))


def install_embedded_devicetree(
    context: Context, sections: Sections, fixup: FixupProtocol | None = None
) -> Devicetree | None:
    """The chosen `.dtbauto`, else the `.dtb`, unchecked; else what the firmware installed, which is not fixed up."""
    for name in _EMBEDDED:
        section, data = sections.section(name), sections.data(name)
        if section is not None and data is not None:
            installed = install_from_memory(context, Devicetree(name, section.index, data), fixup)
            if not isinstance(installed, str):
                return installed
            ignoring = ", ignoring" if context.model.says_devicetree_is_ignored else ""
            context.log("error", f"Error loading embedded devicetree{ignoring}: {context.in_words(installed)}")
            break
    return firmware_devicetree(context)


def install_addon_devicetrees(
    context: Context,
    installed: Devicetree | None,
    addons: list[NamedAddon],
    parameters: Measured,
    fixup: FixupProtocol | None = None,
) -> Devicetree | None:
    """Each one replaces the one before and is measured under its file name, as it is in the addon.

    One that cannot be installed is not measured (recorded on aa64: dtfixup-addon-mode2).
    """
    for addon in addons:
        tree = install_from_memory(context, Devicetree(addon.filename, None, addon.data), fixup)
        if isinstance(tree, str):
            context.log("error", f"Error loading addon devicetree, ignoring: {context.in_words(tree)}")
            continue
        installed = tree
        digests = context.digests.of(addon.data)
        parameters.combine(log_event(context, PCR_KERNEL_CONFIG, addon.filename, digests, DEVICETREE_ADDON_EVENT_TAG))
    return installed


def install_from_memory(context: Context, given: Devicetree, fixup: FixupProtocol | None) -> Devicetree | str:
    """The tree as it is installed, or the UEFI status with which that fails (devicetree_install_from_memory).

    Its pages stay allocated either way (recorded on aa64: addon-dtb). Where the firmware has a fix-up, it is called
    with all of the pages as its buffer, and once more, with as many as it asks for, when they are too few.
    """
    assert given.data is not None
    data, memory = given.data, context.memory
    if context.model.needs_firmware_devicetree and context.host.devicetree is None:
        return "EFI_UNSUPPORTED"
    try:
        gpa, size = memory.allocate(len(data), _TYPE), _pages(len(data))
        if fixup is None:
            if context.model.reports_missing_fixup:
                context.log("error", "Could not locate device tree fixup protocol, skipping.")
            return _installed(context, given, data, gpa)
        status, data, wanted = fixup.fix_up(data, size)
        if status == "EFI_BUFFER_TOO_SMALL":
            before, gpa, size = gpa, memory.allocate(wanted, _TYPE), _pages(wanted)
            memory.free(before)
            status, data, _ = fixup.fix_up(data, size)
    except OutOfResources:
        return "EFI_OUT_OF_RESOURCES"
    if status is not None:
        return status
    if not fixup.described.known or _is_cut_off(given.data):
        context.emit(Staged("devicetree", gpa, size, _TYPE, False))
        return given._replace(data=None, known=False)
    return _installed(context, given, data, gpa)


def _installed(context: Context, given: Devicetree, data: Bytes, gpa: int) -> Devicetree:
    context.memory.place(gpa, [data])
    context.emit(Staged("devicetree", gpa, len(data), _TYPE, False))
    return given._replace(data=_tree(data))


def _is_cut_off(tree: Bytes) -> bool:
    """A fix-up is given the pages alone, so it goes by the header, and what lies behind the tree is not known."""
    magic, size = bytes(tree[:4]), bytes(tree[4:8])
    begins = int.from_bytes(magic, "big") == fdt.MAGIC
    return begins and (len(size) < 4 or int.from_bytes(size, "big") > len(tree))


_TYPE = "EfiACPIReclaimMemory"


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def firmware_compatible(context: Context, tree: Bytes) -> bytes | None:
    """That of the firmware's tree, of which a stub has the address only: the host file may have the beginning of it.

    262.1's own code in emulation takes one whose total size is more than there is.
    """
    try:
        return _first(fdt.root_compatible(tree, whole=False))
    except fdt.CutOffError as error:
        keys = ("selection", "devicetree", "measurements", "pcrs", "rtmrs", "sections", "memory")
        context.emit(Unknown("the firmware's devicetree", str(error), keys, (PCR_KERNEL_IMAGE,)))
        return None
    except StubsimError:
        return None


def first_compatible(data: Bytes, address: int = 0) -> bytes | None:
    """The first string of the root's `compatible`, None for what no stub takes for a tree.

    Where it lies counts as well: at an address that is not a multiple of 4 it is none (devicetree.c,
    devicetree_get_compatible; stubble 14 and systemd-stub 262.1).
    """
    if address % 4:
        return None
    try:
        return _first(fdt.root_compatible(data))
    except StubsimError:
        return None


def _first(compatible: tuple[str, ...]) -> bytes | None:
    return compatible[0].encode("utf-8", "surrogateescape") if compatible else None


def _tree(data: Bytes) -> Bytes | None:
    try:
        size = fdt.total_size(data)
    except StubsimError:
        return None
    return extent.of_bytes(data)[:size] if size <= len(data) else None
