"""The command line: which one, what is appended, what of it is measured."""

from __future__ import annotations

from collections.abc import Sequence

from stubsim.formats.efi_string import decode_utf8
from stubsim.stub.arguments import mangled
from stubsim.stub.context import Context
from stubsim.stub.measure import Measured, log_load_options
from stubsim.stub.sections import Sections
from stubsim.systemd.measure import PCR_KERNEL_CONFIG, PCR_OF_LINUX
from stubsim.systemd.smbios import oem_strings
from stubsim.systemd.strings import mangle
from stubsim.trace import Unknown

CMDLINE_EXTRA = b"io.systemd.stub.kernel-cmdline-extra="


def settle_command_line(context: Context, given: str | None, sections: Sections, parameters: Measured) -> str | None:
    """The given line, measured, or the UKI's own (PCR 11 has that one); None when there is neither.

    Under Secure Boot a given line is dropped when the UKI has one of its own, be it blank, or in a confidential guest.
    """
    own = sections.text(".cmdline")
    if _is_trusted(context, own) and (given or (given is not None and context.model.takes_blank_options)):
        _doubt_its_end(context, PCR_OF_LINUX, PCR_KERNEL_CONFIG)
        log_load_options(context, given, parameters)
        return given
    if own is None:
        return None
    _doubt_its_end(context, PCR_OF_LINUX)
    return mangled(context, decode_utf8(own))


def _doubt_its_end(context: Context, *registers: int) -> None:
    """Up to 252.2 a line is copied without its end, and then read up to the next NUL in memory."""
    if not context.model.ends_command_lines:
        why = "this stub also takes what lies in memory behind it"
        affects = ("cmdline", "load_options", "measurements", "pcrs")
        context.emit(Unknown("where the command line ends", why, affects, registers))


def _is_trusted(context: Context, own: bytes | None) -> bool:
    """Whether a given line counts. The machine is asked only for what decides, which tells what hangs on it."""
    if not context.host.secure_boot:
        return True
    return own is None and not (context.model.knows_confidential_guests and context.host.confidential is not None)


def append_addons(context: Context, cmdline: str | None, addons: Sequence[str], parameters: Measured) -> str | None:
    """The addons' lines, joined, measured together (254: those of each folder by themselves) and appended."""
    for text in filter(None, addons):
        cmdline = _append_measured(context, cmdline, mangled(context, text), parameters)
    if context.model.counts_addons_as_measured_last:
        parameters.combine(context.tpm.reached(by_cc=context.model.measures_by_cc))
    return cmdline


def append_smbios(context: Context, cmdline: str | None, parameters: Measured) -> str | None:
    """The first matching string of the first SMBIOS type 11 structure; not when confidential: the host sets it."""
    model = context.model
    if not model.takes_smbios_extra or (not model.asks_confidential_host and context.host.confidential is not None):
        return cmdline
    found = next((text for text in _oem_strings(context) if text.startswith(CMDLINE_EXTRA)), None)
    if found is None:
        return cmdline
    extra = decode_utf8(found[len(CMDLINE_EXTRA) :])
    if model.mangles_smbios_extra:
        return _append_measured(context, cmdline, mangle(extra), parameters)
    if found == CMDLINE_EXTRA:
        # No text is made of it at all, and an event needs one (254.26's own code in emulation; 255 and 256: measure.c).
        because = f"SMBIOS has {CMDLINE_EXTRA.decode()} with nothing behind it"
        raise context.halt(model.event_assertion, because)
    # Up to 256 printed as "%ls %ls" whatever the first one is (recorded on 254.26: smbios11-nobase).
    log_load_options(context, extra, parameters)
    return f"{'(null)' if cmdline is None else cmdline} {extra}"


def _oem_strings(context: Context) -> tuple[bytes, ...]:
    host = context.host
    found = oem_strings(host, skips_absent_strings=context.model.skips_absent_smbios_strings)
    if found is None and any(text.startswith(CMDLINE_EXTRA) for text in host.oem_strings):
        what = "whether this stub finds the arguments from SMBIOS"
        why = "it loses its way behind a structure without strings, and the host file has no whole table (smbios_table)"
        affects = ("outcome", "cmdline", "load_options", "measurements", "pcrs", "rtmrs", "variables")
        context.emit(Unknown(what, why, affects, (PCR_OF_LINUX, PCR_KERNEL_CONFIG)))
    return host.oem_strings if found is None else found


def _append_measured(context: Context, cmdline: str | None, extra: str, parameters: Measured) -> str | None:
    if not extra:
        return cmdline
    log_load_options(context, extra, parameters)
    return append(cmdline, extra)


def append(cmdline: str | None, extra: str) -> str:
    return f"{cmdline} {extra}" if cmdline else extra
