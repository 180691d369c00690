"""Builds of OVMF, and what each measures in its own way: a table, recognised by the volumes of an image.

Every row was recorded in the lab (QEMU 7.2 q35 under TCG, real logs). An image that is not in the table measures what
all of them do alike; the rest of it is unknown.
"""

from __future__ import annotations

from uuid import UUID

from stubsim.formats.load_option import ACTIVE, APP, HIDDEN, LoadOption, build_path, firmware_file
from stubsim.rows import NamedTuple

# The volume that the entries of the firmware's own programs name (OvmfPkg, the DXE volume).
_DXE_VOLUME = UUID("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1")
# MdeModulePkg/Application/UiApp and BootManagerMenuApp, ShellPkg/Application/Shell.
_UI_APP = UUID("462caa21-7614-4503-836e-8ab6f4662331")
_BOOT_MANAGER_MENU = UUID("eec25bdc-67f2-4d95-b1d5-f81b2039d11d")
_SHELL = UUID("7c04a583-9e3e-4f1c-ad65-e05268d0b4d1")

BEFORE_BOOT_VARIABLES, AFTER_SEPARATORS = "before the boot variables", "after the separators"


class Patch(NamedTuple):
    """Bytes that PEIMs have written over the volume's own before it is measured."""

    offset: int
    data: bytes


class Build(NamedTuple):
    """What differs.

    ``crtm_version`` is PcdFirmwareVersionString. ``pei_patches`` are constant changes of the PEI volume; None: see
    ``pei_unknown``, or ``has_platform_info``: the structure that 2022.11 fills in within the volume.
    ``no_secure_boot`` is the data of SecureBoot where no key is enrolled or the build cannot check any; ``menu`` and
    ``shell`` are the boot entries of its own, in front of and behind those of devices. ``has_cc``: it has TdTcg2Dxe,
    and that measures a separator into RTMR 1 (its public source; not recorded).
    """

    name: str
    basis: str
    crtm_version: str
    volume_bases: tuple[int, int]
    pei_patches: tuple[Patch, ...]
    pei_unknown: str | None
    has_platform_info: bool
    smm: bool
    secure_boot: bool
    no_secure_boot: bytes
    acpi_data: bool
    handoff_tables: str | None
    menu: tuple[LoadOption, ...]
    shell: LoadOption | None
    exit_fails_first: bool
    has_cc: bool


def _own(attributes: int, description: str, file: UUID) -> LoadOption:
    return LoadOption(attributes, description, build_path(*firmware_file(_DXE_VOLUME, file)))


_RECORDED = "recorded"
_OLD_MENU = (_own(ACTIVE | HIDDEN | APP, "UiApp", _UI_APP),)
_NEW_MENU = (
    _own(ACTIVE | HIDDEN | APP, "BootManagerMenuApp", _BOOT_MANAGER_MENU),
    _own(ACTIVE | APP, "EFI Firmware Setup", _UI_APP),
)
_OLD_SHELL, _NEW_SHELL = (_own(flags, "EFI Internal Shell", _SHELL) for flags in (ACTIVE, ACTIVE | APP))
_SMM_CODE = (
    "the PEI volume is measured as it lies in RAM, where SMM relocation code has addresses in it that depend on memory "
    "and processors (recorded, not worked out)"
)

_2022 = Build(
    name="OVMF 2022.11 (Debian 2022.11-6+deb12u2)",
    basis=_RECORDED,
    crtm_version="",
    volume_bases=(0x820000, 0x900000),
    pei_patches=(),
    pei_unknown=None,
    has_platform_info=True,
    smm=False,
    secure_boot=False,
    no_secure_boot=b"\0",
    acpi_data=False,
    handoff_tables=None,
    menu=_OLD_MENU,
    shell=_OLD_SHELL,
    exit_fails_first=False,
    has_cc=False,
)
_2022_SECURE = _2022._replace(name=f"{_2022.name}, Secure Boot build", smm=True, secure_boot=True)
_2025 = _2022._replace(
    name="OVMF 2025.02 (Debian 2025.02-8+deb13u1)",
    crtm_version="2025.02-8+deb13u1",
    # Within PeiCore.
    pei_patches=(Patch(0x6E50, b"\x08\x06"),),
    has_platform_info=False,
    no_secure_boot=b"",
    acpi_data=True,
    has_cc=True,
)
_2025_SECURE = _2025._replace(
    name=f"{_2025.name}, Secure Boot build",
    pei_patches=(),
    pei_unknown=_SMM_CODE,
    smm=True,
    secure_boot=True,
    no_secure_boot=b"\0",
    shell=None,
)
_2025_STRICT = _2025_SECURE._replace(name=f"{_2025.name}, Secure Boot build that wants NX_COMPAT")
_2026 = _2025._replace(
    name="OVMF 2026.08 (Debian 2026.08+ds-2)",
    crtm_version="2026.08+ds-2",
    volume_bases=(0x830000, 0x900000),
    pei_patches=(),
    handoff_tables=BEFORE_BOOT_VARIABLES,
    menu=_NEW_MENU,
    shell=_NEW_SHELL,
    exit_fails_first=True,
)
_2026_SECURE = _2026._replace(
    name=f"{_2026.name}, Secure Boot build",
    pei_unknown=f"{_SMM_CODE}, and on the number of fw_cfg files",
    smm=True,
    secure_boot=True,
    no_secure_boot=b"\0",
    handoff_tables=AFTER_SEPARATORS,
    shell=None,
)
_2026_STRICT = _2026_SECURE._replace(name=f"{_2026.name}, Secure Boot build that wants NX_COMPAT")

# SHA-256 of the PEI volume as it is in the file, and of the DXE volume -> the build.
BUILDS = {
    (
        "471281a7d197d12ac61a810e5150b9b5ddc47be78ef0c24af7a8192c81b3a808",
        "82a0445201cb49945461acc6ed78426700fb7e92819862edc55ba3ad4559b135",
    ): _2022,
    (
        "dd099b33f9e54526542b92036e12aed1af73d17f0cdeaa12ab02b1030953ac4c",
        "a644ed209b188dd428ea3e15c0b1dbbc1ad05d406bb2857cac4a73b98d0b6b4f",
    ): _2022_SECURE,
    (
        "acc7cc32f3e05161d1620022562909c284f700d73082cf7ac159451a3f7c7212",
        "450136d3f01290a89f67a4ecc0e3f8a9d16f49e9eb4e17c4cacdffdeea32f806",
    ): _2025,
    (
        "98cf2a7e49cbca9a9b7796d1edf9ac412db5b4541865f1953017f74041ef4358",
        "8e61460f5088f6ed97e3f28cad67a193d19b210b376bc254e283544b30957bca",
    ): _2025_SECURE,
    (
        "98cf2a7e49cbca9a9b7796d1edf9ac412db5b4541865f1953017f74041ef4358",
        "143be679e8fd06d5ea31f75a939777342eb3757dbbc7f0c84849f10c37d28183",
    ): _2025_STRICT,
    (
        "10e48f005bc9f46830c4596b9ab6f8d0b98427f08e17d6d0e6eef582a7b12512",
        "7aad15bf592e8ebe437b48d49fde223385d8b649821d4026aba079250d009d23",
    ): _2026,
    (
        "7dc26c2a9bf8da46a397aa48736acb6c5af6960e03975bc20e425fb5f59c76fc",
        "bb17345bd6a81c2b5a7146721b14aca295f6273c712232db65d6933ffef2039d",
    ): _2026_SECURE,
    (
        "c36188584410e7016fe88dc47b9c298f2e87102d59059cf04f803d8bf6585365",
        "dbd2249b00cb56afad29029d8e09d4fd5e5087ff24ab595bd4b11dfd00327b4e",
    ): _2026_STRICT,
}


def build_of(pei: memoryview | None, dxe: memoryview) -> Build | None:
    """The build whose volumes these are, None for another one: a PEI volume may be in several."""
    import hashlib

    if pei is None:
        return None
    pei_digest, dxe_digest = (hashlib.sha256(volume).hexdigest() for volume in (pei, dxe))
    return BUILDS.get((pei_digest, dxe_digest))
