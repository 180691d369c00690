"""What differs between the stubs, as one table; no step compares versions.

How sure: 257 and 262 were recorded booting in QEMU on x86-64 (257.13, 262 and 262.1). Everything else is from
public sources: the releases' own source and news, systemd pull request 42570 (firmware entries in .hwids) and
43235 (capsules in .efifw), and the prototype branch "fuki" of September 2024.
"""

from __future__ import annotations

from typing import NamedTuple

from stubsim import chid
from stubsim.errors import StubsimError
from stubsim.formats.efi_program import SYSTEMD_STUB

# Order of the canonical list is the order of PCR 11 (UAPI specification of the Unified Kernel Image).
_SECTIONS_256 = (
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrsig", ".pcrpkey",
)  # fmt: skip
_SECTIONS_257 = (*_SECTIONS_256, ".profile", ".dtbauto", ".hwids")
_SECTIONS_258 = (*_SECTIONS_257, ".efifw")

# Areas proven by recordings, on x86-64 outside of confidential guests.
_RECORDED = (
    "arguments", "sections", "profiles", "measurements", "hwids", "devicetree", "command line", "addons", "sidecars",
    "initrd", "kernel", "variables", "secure boot", "messages",
)  # fmt: skip


class StubModel(NamedTuple):
    """One stub's behaviour; each flag is one observed or published difference."""

    id: str
    basis: str  # "recording", "source" or "proposal"
    verified: tuple[str, ...]
    sections: tuple[str, ...]
    stub_features: int | None
    chid_priority: tuple[int, ...]
    # .hwids
    matches_devicetree_entries: bool = True
    matches_firmware_entries: bool = True
    refuses_inexact_descriptors: bool = False
    checks_hwids_offsets: bool = True
    # also an addon with nothing to apply
    reports_no_match_as_error: bool = False
    # arguments and command line
    takes_profiles: bool = True
    drops_control_characters: bool = True
    appends_console: bool = True
    takes_log_level: bool = True
    # what it leaves and finds
    makes_boot_secret: bool = True
    creates_random_seed: bool = True
    takes_previous_initrd: bool = True
    measures_smbios: bool = True
    packs_global_extensions: bool = True
    exports_tpm_banks: bool = True
    exports_keyboard_layout: bool = True
    loads_kernel_itself: bool = True
    # where it does: on its SectionAlignment
    aligns_kernel: bool = True
    # Whose steps they are; the flags above are of systemd-stub's.
    name: str = SYSTEMD_STUB
    # proposals
    applies_capsules: bool = False
    firmware_section: str | None = None
    # What the public description leaves open: (what, keys of the boot's JSON that depend on it).
    open_questions: tuple[tuple[str, tuple[str, ...]], ...] = ()


_262 = StubModel(
    id="262",
    basis="recording",
    verified=(*_RECORDED, "firmware selection", "boot secret", "console"),
    sections=_SECTIONS_258,
    stub_features=0x1FFF,
    chid_priority=chid.PRIORITY,
)

_258 = _262._replace(
    id="258-261",
    basis="source",
    verified=(),
    stub_features=None,
    # The section is known, but .hwids is matched for devicetree entries only (fixed by systemd pull request 42570).
    matches_firmware_entries=False,
    checks_hwids_offsets=False,
    reports_no_match_as_error=True,
    drops_control_characters=False,
    appends_console=False,
    takes_log_level=False,
    makes_boot_secret=False,
    creates_random_seed=False,
    takes_previous_initrd=False,
    measures_smbios=False,
    exports_keyboard_layout=False,
    aligns_kernel=False,
    open_questions=(
        (
            "which of 258 to 261 already append console=, derive a boot secret, take over an earlier initrd, measure "
            "SMBIOS into PCR 1, drop load options with control characters",
            ("cmdline", "load_options", "initrd", "measurements", "pcrs", "variables", "esp_changes"),
        ),
    ),
)

_257 = _258._replace(
    id="257",
    basis="recording",
    verified=_RECORDED,
    sections=_SECTIONS_257,
    stub_features=0x07FF,
    chid_priority=tuple(kind for kind in chid.PRIORITY if kind <= 11),
    refuses_inexact_descriptors=True,
    packs_global_extensions=False,
    exports_tpm_banks=False,
    loads_kernel_itself=False,
    open_questions=(),
)

_256 = _257._replace(
    id="256",
    basis="source",
    verified=(),
    sections=_SECTIONS_256,
    stub_features=None,
    matches_devicetree_entries=False,
    takes_profiles=False,
    open_questions=(
        (
            "what releases up to 256 do beyond having no .hwids, .dtbauto, .efifw and .profile; the rest is taken "
            "from 257",
            ("cmdline", "initrd", "measurements", "pcrs", "variables"),
        ),
    ),
)

_NEXT = _262._replace(id="next", basis="proposal", verified=(), applies_capsules=True)

_FUKI = _256._replace(
    id="fuki",
    basis="proposal",
    sections=(*_SECTIONS_256, ".fmwimg"),
    firmware_section=".fmwimg",
    open_questions=(
        ("what the prototype of September 2024 measures and exports", ("measurements", "pcrs", "variables")),
    ),
)

MODELS = {model.id: model for model in (_256, _257, _258, _262, _NEXT, _FUKI)}

_NEWEST_KNOWN = 262
# For a stub nobody has recorded: the newest rules, none of them proven for it.
_ASSUMED = _262._replace(verified=())


class Choice(NamedTuple):
    model: StubModel
    reason: str


def choose(stub: tuple[str, str] | None, override: str | None = None) -> Choice:
    """The model for a UKI's (stub name, version), or the one asked for by ``--stub``.

    Raises StubsimError for an unknown name given by the user; an unknown stub in the UKI is not an error: the newest
    known model is assumed and the reason says so.
    """
    if override is not None:
        return Choice(_named(override), f"--stub {override}")
    if stub is None:
        return Choice(_ASSUMED, f"the file names no stub (.sdmagic, .sbat): {_NEWEST_KNOWN} is assumed")
    name, version = stub
    release = release_of(version)
    if name != "systemd-stub":
        return Choice(_ASSUMED, f"foreign stub {name} {version}: systemd-stub {_NEWEST_KNOWN} is assumed")
    if release is None:
        return Choice(_ASSUMED, f"{name} {version} names no release: {_NEWEST_KNOWN} is assumed")
    if release > _NEWEST_KNOWN:
        return Choice(_ASSUMED, f"{name} {version} is newer than the newest known, {_NEWEST_KNOWN}, which is assumed")
    return Choice(_for_release(release), f"{name} {version} in the UKI")


def release_of(version: str) -> int | None:
    """The major release in a version such as ``262.1-1``, ``257~rc1`` or ``258.3-1.fc43``."""
    digits = ""
    for character in version.lstrip("v"):
        if character not in "0123456789":
            break
        digits += character
    return int(digits) if digits and len(digits) < 6 else None


def _for_release(release: int) -> StubModel:
    if release <= 256:
        return _256
    if release == 257:
        return _257
    return _262 if release >= 262 else _258


def _named(name: str) -> StubModel:
    if name in MODELS:
        return MODELS[name]
    release = release_of(name)
    if release is not None and release <= _NEWEST_KNOWN:
        return _for_release(release)
    raise StubsimError(f"unknown stub {name!r}", expected=", ".join(MODELS) + ", or a release such as 260")
