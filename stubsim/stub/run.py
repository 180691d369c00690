"""The stub from start to kernel, in its own order (systemd-stub: stub.c, run)."""

from __future__ import annotations

from typing import NamedTuple

from stubsim.machine.layout import PAGE
from stubsim.machine.memory import POOL_OVERHEAD, OutOfResources
from stubsim.stub import refused
from stubsim.stub.addons import load_all_addons
from stubsim.stub.arguments import process_arguments
from stubsim.stub.boot_secret import SIZE, prepare_boot_secret, refresh_random_seed
from stubsim.stub.cmdline import append_addons, append_smbios, settle_command_line
from stubsim.stub.console import append_console
from stubsim.stub.context import STATUS, Context, StubFailed
from stubsim.stub.devicetree import Devicetree, install_devicetrees
from stubsim.stub.extras import generate_boot_secret_initrd, generate_embedded_initrds
from stubsim.stub.initrd import Combined, Parts, combine_initrds
from stubsim.stub.measure import Measured, measure_sections
from stubsim.stub.previous_initrd import acquire_previous_initrd
from stubsim.stub.profile import measure_profile
from stubsim.stub.sections import Sections, find_sections
from stubsim.stub.sidecars import generate_sidecar_initrds
from stubsim.stub.smbios import measure_smbios
from stubsim.stub.variables import export_common_variables, export_pcr_variables, export_stub_variables
from stubsim.trace import Staged

_GIB4 = 1 << 32


class Prepared(NamedTuple):
    """All that is ready when the kernel could be started."""

    profile: int
    sections: Sections
    cmdline: str | None
    devicetree: Devicetree | None
    initrd: Combined | None
    initrd_pages: Staged | None


def prepare(context: Context, found: list[Sections]) -> Prepared:
    """Everything up to the start of the kernel; raises StubFailed where the stub gives up.

    The sections settled on are put into ``found`` as soon as they are known, for a run that fails later.
    """
    image, parameters, sysext, confext = Measured(), Measured(), Measured(), Measured()

    pool = _first_page_of_the_pool(context)
    profile, given = process_arguments(context)
    sections = find_sections(context, profile)
    found.append(sections)

    measure_profile(context, profile, parameters)
    measure_sections(context, sections, image)

    seeded = refresh_random_seed(context)
    secret = prepare_boot_secret(context, sections, seeded)

    cmdline = settle_command_line(context, given, sections, parameters)
    addons = load_all_addons(context, sections)
    cmdline = append_addons(context, cmdline, addons.cmdline, parameters)
    cmdline = append_smbios(context, cmdline, parameters)
    cmdline = append_console(context, cmdline)

    export_common_variables(context)
    export_stub_variables(context, profile)
    measure_smbios(context)

    devicetree = install_devicetrees(context, sections, addons.devicetrees, parameters)

    initrds: dict[str, Parts] = {}
    previous = acquire_previous_initrd(context)
    if previous is not None:
        initrds["previous"] = (previous,)
    initrds |= generate_sidecar_initrds(context, {"parameters": parameters, "sysext": sysext, "confext": confext})
    initrds |= generate_embedded_initrds(context, sections)
    if secret is not None:
        initrds["boot-secret"] = generate_boot_secret_initrd(secret or bytes(SIZE))
    for name in (".initrd", ".ucode"):
        data = sections.data(name)
        if data is not None:
            initrds[name[1:]] = (data,)
    unknown = frozenset({"boot-secret"} if secret == b"" else ())
    initrd = combine_initrds(context, initrds, addons, parameters, unknown)

    export_pcr_variables(context, image, parameters, sysext, confext)
    pages = _stage(context, initrd, pool)
    return Prepared(profile, sections, cmdline, devicetree, initrd, pages)


def _first_page_of_the_pool(context: Context) -> int:
    try:
        return context.memory.allocate(PAGE, "EfiLoaderData")
    except OutOfResources:
        raise _no_pages(context, "the stub", PAGE) from None


def _no_pages(context: Context, what: str, size: int) -> StubFailed:
    because = refused.out_of_memory(context, what, size)
    return context.fail(f"Failed to allocate pages: {STATUS['EFI_OUT_OF_RESOURCES']}", "EFI_OUT_OF_RESOURCES", because)


def _stage(context: Context, initrd: Combined | None, pool: int) -> Staged | None:
    """Pages for the combined initrd, below 4 GiB on x86.

    A single initrd is not combined: a small one stays in the stub's pool, of which only the first page is known to
    be there. A large one gets pages here that a real stub does without.
    """
    staged = None
    memory = context.memory
    try:
        if initrd is not None and initrd.by_stub:
            if len(initrd.initrds) == 1 and initrd.size + POOL_OVERHEAD <= PAGE:
                memory.place(pool, initrd.parts)
                staged = Staged("initrd", pool, initrd.size, "EfiLoaderData", False)
            else:
                below = _GIB4 if context.machine in ("x64", "ia32") else None
                staged = memory.stage("initrd", initrd.parts, "EfiLoaderData", below=below)
            context.emit(staged)
    except OutOfResources:
        raise _no_pages(context, "the initrd", 0 if initrd is None else initrd.size) from None
    return staged
