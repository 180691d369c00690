"""Why an event of a real machine's log is not the predicted one: the likely cause in words, by one table of rules."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.errors import StubsimError
from stubsim.explain.log_case import (
    ADDONS,
    ARCHIVES,
    SMBIOS,
    Case,
    is_addon,
    is_archive,
    is_choice,
    is_command_line,
    is_smbios,
    smbios_is_measured,
)
from stubsim.explain.log_items import Item, Pair, is_image
from stubsim.formats import fdt, pe
from stubsim.formats.efi_string import decode_utf8, from_utf16
from stubsim.linux.measure import INITRD_TAG, LOAD_OPTIONS_TAG, PCR_KERNEL_INITRD
from stubsim.stub.arguments import split_shell_line
from stubsim.stub.cmdline import CMDLINE_EXTRA
from stubsim.stub.models import NEWEST, released, which
from stubsim.stub.profile import PROFILE_EVENT_TAG
from stubsim.systemd.measure import (
    PCR_BOOT_LOADER_CONFIG,
    PCR_KERNEL_CONFIG,
    PCR_KERNEL_IMAGE,
)
from stubsim.systemd.strings import mangle


def cause(case: Case, pair: Pair) -> str:
    """The likely cause in one sentence; what comes out of the log is quoted with escapes."""
    for applies, explain in _RULES:
        if applies(pair.item):
            text = explain(case, pair)
            if text is not None:
                return text
    return _any(pair)


Explain = Callable[[Case, Pair], str | None]


def _no_stub(case: Case, pair: Pair) -> str | None:
    if pair.kind == "missing" and not case.contents:
        return "nothing is in PCR 11: no systemd-stub ran on this machine, or it found no TPM"
    return None


def _earlier(case: Case, pair: Pair) -> str | None:
    if pair.logged is None or pair.logged.place not in case.earlier:
        return None
    return "measured before this UKI was started: by another UKI, which came back to the firmware or boot loader"


def _order(case: Case, pair: Pair) -> str | None:
    if pair.kind != "order" or pair.predicted is None:
        return None
    return f"both have it, but in a different order, and the value of PCR {pair.predicted.pcr} depends on the order"


def _image(case: Case, pair: Pair) -> str:
    """An image that was started: in front of the UKI, the UKI, or for it."""
    images, path = case.images, pair.item.description or "an image without a path"
    if pair is images.pairs[0]:
        return f"this log is of another UKI: {_path(pair.logged)} (PCR 4) does not have this file's digest"
    if pair.predicted is not None and pair.predicted.by != "stub":
        loader = case.boot.loader is not None and case.boot.loader.loader.path == path
        name = f"systemd-boot ({path})" if loader else path
        if pair.logged is not None:
            return f"{_path(pair.logged)} has started the UKI, and it is not the same file as {name} of --esp"
        if not images.before:
            return f"the firmware has started the UKI itself, and not {name} of --esp (--loader none)"
        return f"{name} of --esp was not started on the machine"
    if pair.predicted is None and pair.item.place < images.place:
        if case.start.esp is None and case.start.loader is None:
            return f"no --esp was given: {path} has started the UKI, which is a boot loader of the machine's partition"
        return f"{path} has started the UKI, and the prediction is that the firmware does{_why_no_loader(case)}"
    what = path if pair.item.description else "the kernel in the UKI"
    if pair.kind == "differs":
        return f"{path}, which was loaded for the UKI, is another file on the machine"
    if pair.kind == "missing":
        return f"{what} was not loaded by the firmware on the machine"
    return f"{what} was loaded by the firmware, which is not predicted{_no_esp(case)}"


def _path(item: Item | None) -> str:
    return (item and item.description) or "an image without a path"


def _why_no_loader(case: Case) -> str:
    if case.start.loader is not None:
        return f" (--loader {case.start.loader})"
    return "; no --esp was given" if case.start.esp is None else ""


def _loader_conf(case: Case, pair: Pair) -> str:
    if pair.kind == "differs":
        return "loader.conf on the machine differs from that in --esp"
    if pair.kind == "missing":
        return "systemd-boot has measured no loader.conf on the machine"
    if case.boot.loader is None:
        return f"systemd-boot has measured its loader.conf, and none is predicted{_why_no_loader(case)}"
    return "systemd-boot has measured a loader.conf, which --esp does not have"


def _kernel(case: Case, pair: Pair) -> str | None:
    """Load options and initrd, which Linux measures."""
    linux = case.boot.linux
    name = "the kernel" if linux is None else f"Linux {linux.release or ''}".rstrip()
    if pair.item.tag == LOAD_OPTIONS_TAG:
        cmdline = None if case.boot.prepared is None else case.boot.prepared.cmdline
        what = f"the command line of the kernel; the prediction is {cmdline!r}"
    elif pair.item.tag == INITRD_TAG:
        secret = case.boot.model.makes_boot_secret
        also = " (also by a boot secret: rng, variables, boot_secret of the host file)" if secret else ""
        what = f"the initrd that the kernel has got{also}"
    else:
        return None
    if pair.kind == "differs":
        return f"what differs is {what}"
    if pair.kind == "missing":
        return f"not measured by the kernel, as {name} does: {what}"
    return f"measured by the kernel, which is not predicted: {what}"


def _profile(case: Case, pair: Pair) -> str | None:
    predicted = "0" if pair.predicted is None else pair.predicted.description
    if pair.logged is None:
        return f"the machine booted profile 0, the prediction is for profile {predicted}"
    booted = pair.logged.description
    if pair.predicted is not None and booted == predicted:
        return None
    return f"the machine booted profile {booted!r}, the prediction is for profile {predicted} (--profile)"


def _smbios(case: Case, pair: Pair) -> str | None:
    item = pair.item
    what = f"SMBIOS {item.description.removeprefix('smbios:')}"
    if pair.kind == "differs":
        return f"{what}: {SMBIOS[item.description]} differs from the host file's table"
    if pair.kind == "missing":
        if not case.has_smbios:
            return (
                f"SMBIOS was not measured: the stub that ran is not one of {_smbios_stubs()}, or LoaderPcrSMBIOS was "
                "set already, which a host file can say in its variables"
            )
        return f"{what}: the machine has fewer structures of this type than the host file's table"
    if not case.boot.model.measures_smbios:
        return f"SMBIOS measured by the stub, as {_smbios_stubs()} do; the prediction is for stub {case.boot.model.id}"
    if smbios_is_measured(case.boot.host):
        return "SMBIOS measured by the stub: LoaderPcrSMBIOS, which the host file has, was not set on the machine"
    return f"{what}: the machine has more structures of this type than the host file's table"


def _smbios_stubs() -> str:
    return which(lambda model: model.measures_smbios)


def _packing() -> str:
    return which(lambda model: model.packs_global_extensions)


def _choice(case: Case, pair: Pair) -> str | None:
    """`.efifw` and `.dtbauto`: which one is measured depends on the machine."""
    item = pair.item
    name, boot = item.description, case.boot
    word = "an" if name == ".efifw" else "a"
    theirs = _section_in_log(case, name)
    ours = boot.sections.section(name) if boot.sections is not None else None
    if pair.kind == "missing":
        those = which(lambda model: model.matches_firmware_entries)
        older = f"; only stubs {those} ever select one" if name == ".efifw" else ""
        return f"this host selects {_label(case, ours)}, but no {name} was measured on the machine{older}"
    there = f"it is {_label(case, theirs)}" if theirs is not None else "none of this UKI's"
    if pair.kind == "extra":
        if name not in boot.model.sections:
            return f"{word} {name} was measured, which stub {boot.model.id} does not know; {there}"
        return f"{word} {name} was measured that this host does not select; {there}"
    if theirs is not None and ours is not None and theirs.index != ours.index:
        return f"another {name} was measured: {_label(case, theirs)}; this host selects {_label(case, ours)}"
    return f"`{name}` differs: {_label(case, ours)} has other contents in the UKI that was booted"


def _section(case: Case, pair: Pair) -> str | None:
    item = pair.item
    name, boot = item.description, case.boot
    there = _section_in_log(case, name)
    if pair.kind == "differs":
        ours = boot.sections.section(name) if boot.sections is not None else None
        if there is not None and there is not ours:
            return f"`{name}` differs: the one measured is section {there.index} of this UKI, {_part(case, there)}"
        if name == ".linux":
            return "`.linux` differs: another kernel was booted, in another UKI"
        also = ", and may select another .dtbauto or .efifw" if name == ".hwids" else ""
        return f"`{name}` differs: the UKI that was booted has other contents in this section{also}"
    if pair.kind == "missing":
        known = all(name in model.sections for model in released())
        stub = "" if known else ", or its stub is too old to know it"
        return f"`{name}` was not measured: the UKI that was booted has no such section{stub}"
    if there is not None and name not in boot.model.sections:
        return f"`{name}` was measured, which stub {boot.model.id} does not do: the stub that ran is newer (--stub)"
    if there is not None:
        return f"`{name}` was measured, section {there.index} of this UKI, {_part(case, there)}, which is not predicted"
    return f"`{name}` was measured: the UKI that was booted has this section, this one has not"


def _archive(case: Case, pair: Pair) -> str | None:
    item = pair.item
    row = ARCHIVES[item.description]
    where = f"*{row.suffix} in {row.folder or 'the folder .extra.d of the UKI'}"
    if pair.kind == "differs":
        return f"{item.description!r} differs: other files, names or contents ({where})"
    if pair.kind == "missing":
        return f"{item.description!r} is not in the log: the machine had no {where}"
    if row.global_extension and not case.boot.model.packs_global_extensions:
        return f"{item.description!r} is in the log: the stub that ran is one of {_packing()} ({where})"
    return f"{item.description!r} is in the log, but the prediction has no {where}{_no_esp(case)}"


def _addon(case: Case, pair: Pair) -> str | None:
    item = pair.item
    assert item.tag is not None
    what = f"the {ADDONS[item.tag]} {item.description!r}"
    if pair.kind == "differs":
        return f"{what} differs: it has other contents on the machine"
    if pair.kind == "missing":
        return f"{what} is not in the log: the machine does not have it, or refused it (Secure Boot, .uname)"
    return f"{what} was measured, but is not predicted{_no_esp(case)}"


def _command_line(case: Case, pair: Pair) -> str:
    text = repr(pair.item.description)
    if pair.predicted is None and pair.item.place < case.first:
        return f"a boot loader has measured the load options that it passes on, {text}, which is not predicted"
    if pair.predicted is not None and pair.predicted.by == "loader":
        passed = f"systemd-boot passes on as load options: the prediction is {text}"
        there = "no event" if pair.logged is None else repr(pair.logged.description)
        return f"another is what {passed}, and the log has {there}"
    if pair.predicted is not None:
        what = _origin(case, pair.predicted.description)
        if pair.logged is not None:
            return f"the {what} differ: the log has {pair.logged.description!r}, the prediction is {text}"
        if what == "load options":
            return f"the log lacks the load options that were given, {text}: Secure Boot drops them, or there were none"
        if what == "SMBIOS arguments":
            return f"the log lacks the arguments of the host's SMBIOS type 11, {text}"
        return f"the log lacks the addons' arguments, {text}: the machine has no such addon, or refused it"
    given = _given(case)
    if given and pair.item.description in given:
        why = "Secure Boot is on" if case.boot.host.secure_boot else f"stub {case.boot.model.id}"
        return f"the log has the load options, {text}, which are dropped in the prediction ({why})"
    if pair.item.place == case.first_command_line and not given:
        return f"the log has load options that were not given: {text} (or arguments of addons or SMBIOS type 11)"
    return f"the log has arguments of addons or SMBIOS type 11 that are not predicted: {text}{_no_esp(case)}"


def _any(pair: Pair) -> str:
    item = pair.item
    what = f"{item.type} event {item.description!r} of PCR {item.pcr}"
    if pair.kind == "extra":
        return f"the {what} is not something that systemd-stub measures"
    return f"the {what} {'is not in the log' if pair.kind == 'missing' else 'has another digest in the log'}"


_RULES: tuple[tuple[Callable[[Item], bool], Explain], ...] = (
    (lambda item: True, _no_stub),
    (lambda item: True, _earlier),
    (lambda item: True, _order),
    (is_image, _image),
    (lambda item: item.pcr == PCR_BOOT_LOADER_CONFIG, _loader_conf),
    (lambda item: item.pcr == PCR_KERNEL_INITRD, _kernel),
    (lambda item: item.pcr == PCR_KERNEL_CONFIG and item.tag == PROFILE_EVENT_TAG, _profile),
    (is_smbios, _smbios),
    (is_choice, _choice),
    (lambda item: item.pcr == PCR_KERNEL_IMAGE and item.description in NEWEST.sections, _section),
    (is_archive, _archive),
    (is_addon, _addon),
    (is_command_line, _command_line),
)


def _section_in_log(case: Case, name: str) -> pe.Section | None:
    """The section of this UKI whose content the log has under this name."""
    if name not in case.identified:
        sections = (section for section in case.boot.uki.image.sections if section.name == name)
        case.identified[name] = next((section for section in sections if _is_logged(case, section)), None)
    return case.identified[name]


def _is_logged(case: Case, section: pe.Section) -> bool:
    try:
        data = case.boot.uki.data(section)
    except StubsimError:
        return False
    digest = case.boot.digests.of(data, (case.bank,))[case.bank]
    return digest in case.contents.get(section.name, ())


def _part(case: Case, section: pe.Section) -> str:
    profiles = (profile.index for profile in case.boot.uki.profiles if section in profile.sections)
    return next((f"of profile {index}" for index in profiles), "of no profile")


def _label(case: Case, section: pe.Section | None) -> str:
    """A `.efifw` or `.dtbauto` of this UKI by its place and what it is for."""
    if section is None:
        return "none"
    try:
        if section.name == ".efifw":
            text = case.boot.uki.efifw(section).fwid.decode("utf-8", "replace")
        else:
            text = fdt.root_compatible(case.boot.uki.data(section))[0]
    except StubsimError:
        return f"section {section.index}"
    return f"section {section.index} ({text!r})"


def _given(case: Case) -> str:
    """The load options as the stub would write them down, its profile prefix included."""
    start = case.start
    if start.shell is not None:
        return " ".join(split_shell_line(start.shell)[1:])
    return "" if start.load_options is None else mangle(from_utf16(start.load_options))


def _origin(case: Case, text: str) -> str:
    """Where a predicted command line event comes from."""
    for string in case.boot.host.oem_strings:
        if string.startswith(CMDLINE_EXTRA) and mangle(decode_utf8(string[len(CMDLINE_EXTRA) :])) == text:
            return "SMBIOS arguments"
    return "load options" if text in _given(case) else "addons' arguments"


def _no_esp(case: Case) -> str:
    return "" if case.start.esp is not None or case.start.from_memory else "; no --esp was given"
