"""Addons from the partition: command line, devicetree, initrd, microcode (systemd-stub: load_addons)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile

from stubsim.formats import pe
from stubsim.formats.efi_string import decode_utf8
from stubsim.rows import NamedTuple
from stubsim.stub.context import Context
from stubsim.stub.locate import locate_by_prefix, locate_sections, refused_headers
from stubsim.stub.pool import allocate
from stubsim.stub.sections import NamedAddon, Sections
from stubsim.systemd.strings import mangle, parse_number
from stubsim.trace import WHOLE_RUN, WHOLE_RUN_PCRS, Unknown
from stubsim.uefi.esp import same_name
from stubsim.uefi.load_image import AddressTaken, load_file, over_the_end
from stubsim.uefi.memory import OutOfResources

_GLOBAL = "\\loader\\addons"
_PAYLOADS = (".cmdline", ".dtb", ".dtbauto", ".initrd", ".ucode")


class Addons(NamedTuple):
    """What the addons bring, global ones first; the command lines are joined already, 254's by folder."""

    cmdlines: tuple[str, ...]
    devicetrees: list[NamedAddon]
    initrds: list[NamedAddon]
    ucodes: list[NamedAddon]


def load_all_addons(context: Context, sections: Sections) -> Addons:
    addons = Addons((), [], [], [])
    if not context.model.takes_addons:
        return addons
    uname = sections.text(".uname") if context.model.compares_addon_uname else None
    folder = extra_folder(context)
    cmdlines: list[str] = []
    for path in (_GLOBAL,) if folder is None else (_GLOBAL, folder):
        given = "" if context.model.joins_addons_by_folder or not cmdlines else cmdlines.pop()
        wanted = None if uname is None else uname.partition(b"\0")[0]
        cmdlines.append(_load_addons(context, path, wanted, addons, given))
    if not context.model.measures_addon_folders_apart:
        cmdlines = [" ".join(text for text in cmdlines if text)]
    return addons._replace(cmdlines=tuple(cmdlines))


def extra_folder(context: Context) -> str | None:
    """The UKI's own folder; None without a path. Its name goes without the boot counter ``+N`` or ``+N-M``, but up to
    254.5.
    """
    if context.image.path is None:
        return None
    path = context.image.path
    return f"{_without_counter(path) if context.model.cuts_boot_counter else path}.extra.d"


def addon_paths(context: Context) -> list[str]:
    """Every addon that the stub has the firmware load, in its order."""
    folders = [folder for folder in (_GLOBAL, extra_folder(context)) if folder is not None]
    return [f"{folder}\\{name}" for folder in folders for name in folder_files(context, folder, ".addon.efi") or ()]


def folder_files(context: Context, folder: str, suffix: str, excluded: str | None = None) -> list[str] | None:
    """The names taken from a folder, sorted by UTF-16 code unit; None where there is no such folder.

    Left out: hidden names, names with non-ASCII characters or longer than 255; suffixes are compared without case.
    """
    names = None if context.image.esp is None else context.image.esp.folder(folder)
    if names is None:
        return None
    return sorted(
        name
        for name in names
        if not name.startswith(".")
        and name.isascii()
        and len(name) <= 255
        and _ends_with(name, suffix)
        and not (excluded and _ends_with(name, excluded))
    )


def _ends_with(name: str, suffix: str) -> bool:
    return same_name(name[-len(suffix) :], suffix)


def _without_counter(path: str) -> str:
    """The first plus sign of the whole path begins the counter, or there is none (systemd-stub, remove_boot_count)."""
    base, _, rest = path.partition("+")
    number, tail = parse_number(rest)
    if number is not None and tail.startswith("-"):
        number, tail = parse_number(tail[1:])
    return path if number is None or tail[:1] not in ("", ".") else base + tail


def _load_addons(context: Context, folder: str, uname: bytes | None, addons: Addons, cmdline: str) -> str:
    """Add to the lists what a folder's addons bring, and give the command line with theirs behind it."""
    # Up to 256 the texts are joined as they are.
    raw = context.model.joins_addons_by_folder
    texts: list[str] = []
    for name in folder_files(context, folder, ".addon.efi") or ():
        addon = _open(context, folder, name)
        if addon is None:
            continue
        sections, pages = addon
        if not _applies(context, name, sections, uname):
            context.memory.free(pages)
            continue
        text = sections.text(".cmdline")
        if text is not None:
            # A blank one leaves its separator behind (recorded: addon-cmdline-blank).
            texts.append(decode_utf8(text) if raw else mangle(decode_utf8(text)))
        for names, taken in (
            ((".dtbauto", ".dtb"), addons.devicetrees),
            ((".initrd",), addons.initrds),
            ((".ucode",), addons.ucodes),
        ):
            known = [section for section in names if section in _payloads(context)]
            data = next((data for section in known if (data := sections.data(section)) is not None), None)
            if data is not None:
                # The stub's copy outlasts the image.
                allocate(context, len(data), name)
                taken.append(NamedAddon(name, data))
        context.memory.free(pages)
    # Blank ones in front of the first leave no separator.
    return " ".join(dropwhile(lambda text: not text, [cmdline, *texts]))


def _payloads(context: Context) -> tuple[str, ...]:
    """The sections that this stub takes from an addon."""
    if not context.model.takes_devicetree_addons:
        return (".cmdline",)
    return _PAYLOADS if context.model.takes_initrd_addons else (".cmdline", ".dtb")


def _open(context: Context, folder: str, name: str) -> tuple[Sections, int] | None:
    """The addon as the firmware loads it, its sections found by the rules of the UKI's own, and its pages."""
    path = f"{folder}\\{name}"
    addon = context.load_image(path)
    if not isinstance(addon, str):
        try:
            pages = load_file(context.memory, addon.image, addon.size).allocated
        except AddressTaken:
            addon = "EFI_NOT_FOUND"
        except OutOfResources:
            addon = "EFI_OUT_OF_RESOURCES"
    if isinstance(addon, str):
        context.log("error", f"Failed to read '{name}' from '{path}', ignoring: {context.in_words(addon)}")
        return None
    section = over_the_end(addon.image)
    if section is not None:
        why = f"the firmware copies section {section.index} ({section.name}) over what lies behind the image"
        context.emit(Unknown(f"the memory behind {name}", why, WHOLE_RUN, WHOLE_RUN_PCRS))
    wrong_machine = pe.MACHINES.get(addon.image.machine) != context.machine
    if wrong_machine or refused_headers(context, addon) is not None:
        status = context.in_words("EFI_LOAD_ERROR")
        names = _in_words(_payloads(context), known_firmware=context.model.matches_firmware_entries)
        context.log("error", f"Unable to locate embedded {names} in {name}, ignoring: {status}")
        context.memory.free(pages)
        return None
    if context.model.takes_last_section_by_prefix:
        return locate_by_prefix(context, addon), pages
    return locate_sections(context, addon, addon.image.sections), pages


def _in_words(payloads: Sequence[str], *, known_firmware: bool = False) -> str:
    """As the messages name them; no release takes an .efifw from an addon."""
    names = sorted([*payloads, ".efifw"] if known_firmware else payloads)
    return f"{'/'.join(names)} section{'s' if len(names) > 1 else ''}"


def _applies(context: Context, name: str, sections: Sections, uname: bytes | None) -> bool:
    payloads = _payloads(context)
    if all(sections.section(payload) is None for payload in payloads):
        if context.model.reports_empty_addon_as_error:
            status = context.in_words("EFI_NOT_FOUND")
            context.log("error", f"Unable to locate embedded {_in_words(payloads)} in {name}, ignoring: {status}")
        else:
            context.log("debug", f"No applicable {_in_words(payloads)} found in {name}, ignoring.")
        return False
    if sections.section(".linux") is not None:
        tells = context.model.tells_status_of_uki_as_addon
        ending = f": {context.in_words('EFI_INVALID_PARAMETER')}" if tells else "."
        context.log("error", f"{name} is a UKI, not an addon, ignoring{ending}")
        return False
    own = sections.text(".uname")
    if uname is not None and own is not None and not _same_up_to(uname, own):
        context.log("error", f".uname mismatch between {name} and UKI, ignoring")
        return False
    return True


def _same_up_to(uname: bytes, own: bytes) -> bool:
    """Only the addon's bytes are compared, so a prefix will do, unless a NUL ends them (recorded: addon-uname)."""
    text, nul, _ = own.partition(b"\0")
    return uname == text if nul else uname.startswith(text)
