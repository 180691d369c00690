"""The stub from start to kernel, in its own order (systemd-stub: stub.c, run)."""

from __future__ import annotations

from stubsim.machine.ram import PAGE
from stubsim.rows import NamedTuple
from stubsim.stub.addons import load_all_addons
from stubsim.stub.arguments import process_arguments
from stubsim.stub.boot_secret import prepare_boot_secret, refresh_random_seed
from stubsim.stub.cmdline import append_addons, append_smbios, settle_command_line
from stubsim.stub.console import append_console
from stubsim.stub.context import Context
from stubsim.stub.devicetree import Devicetree, install_devicetrees
from stubsim.stub.extras import generate_boot_secret_initrd, generate_embedded_initrds, halt_at_unmeasured_archives
from stubsim.stub.initrd import Combined, Parts, combine_initrds
from stubsim.stub.locate import find_sections
from stubsim.stub.log_level import report_log_level
from stubsim.stub.measure import Measured, measure_sections
from stubsim.stub.pool import PAGES, POOL, Pages, allocate, free, halted
from stubsim.stub.previous_initrd import acquire_previous_initrd
from stubsim.stub.profile import measure_profile
from stubsim.stub.sections import Sections
from stubsim.stub.sidecars import generate_sidecar_initrds
from stubsim.stub.smbios import measure_smbios
from stubsim.stub.variables import (
    export_common_variables,
    export_pcr_variable,
    export_pcr_variables,
    export_stub_variables,
)
from stubsim.systemd.random_seed import SIZE
from stubsim.trace import Staged
from stubsim.uefi.memory import POOL_OVERHEAD, OutOfResources

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
    """Everything up to the start of the kernel; raises ProgramFailed where the stub gives up.

    The sections settled on are put into ``found`` as soon as they are known, for a run that fails later.
    """
    image, parameters, sysext, confext = Measured(), Measured(), Measured(), Measured()

    report_log_level(context)
    pool = _first_page_of_the_pool(context)
    seeded = context.model.seeds_first and refresh_random_seed(context)
    profile, given = process_arguments(context)
    sections = find_sections(context, profile)
    found.append(sections)

    measure_profile(context, profile, parameters)
    measure_sections(context, sections, image)
    if context.model.exports_image_pcr_at_once:
        export_pcr_variable(context, "StubPcrKernelImage", image)

    seeded = seeded or (not context.model.seeds_first and refresh_random_seed(context))
    secret = prepare_boot_secret(context, sections, seeded)

    cmdline = settle_command_line(context, given, sections, parameters)
    addons = load_all_addons(context, sections)
    cmdline = append_addons(context, cmdline, addons.cmdlines, parameters)
    cmdline = append_smbios(context, cmdline, parameters)
    cmdline = append_console(context, cmdline)

    export_common_variables(context)
    export_stub_variables(context, profile)
    measure_smbios(context)

    last = context.model.installs_devicetrees_last
    devicetree = None if last else install_devicetrees(context, sections, addons.devicetrees, parameters)

    initrds: dict[str, Parts] = {}
    archives: list[Pages] = []
    previous = acquire_previous_initrd(context)
    if previous is not None:
        initrds["previous"] = (previous,)
        archives.append(allocate(context, len(previous), "the initrd of an earlier stage"))
    flags = {"parameters": parameters, "sysext": sysext, "confext": confext}
    initrds |= generate_sidecar_initrds(context, flags, archives)
    halt_at_unmeasured_archives(context, sections, image, parameters, sysext, confext)
    if last:
        devicetree = install_devicetrees(context, sections, addons.devicetrees, parameters)
    initrds |= generate_embedded_initrds(context, sections, archives)
    if secret is not None:
        initrds["boot-secret"] = generate_boot_secret_initrd(secret or bytes(SIZE))
    for name in (".initrd", ".ucode"):
        data = sections.data(name)
        if data is not None:
            initrds[name[1:]] = (data,)
    unknown = frozenset({"boot-secret"} if secret == b"" else ())
    initrd = combine_initrds(context, initrds, addons, parameters, unknown)
    if context.model.reads_initrd_from_zero and (initrd is None or not initrd.by_stub):
        context.unknown(
            "what this stub takes for an initrd where it has none",
            "it reads address and size from address 0; nothing but zeros was seen there on QEMU's x86 machines",
            *("outcome", "initrd"),
        )

    export_pcr_variables(context, image, parameters, sysext, confext)
    pages = _stage(context, initrd, pool)
    if initrd is not None and len(initrd.initrds) > 1:
        # Since they may be large they are freed before the kernel is loaded.
        free(context, *archives)
    return Prepared(profile, sections, cmdline, devicetree, initrd, pages)


def _first_page_of_the_pool(context: Context) -> int:
    try:
        return context.memory.allocate(PAGE, "EfiLoaderData")
    except OutOfResources:
        raise halted(context, POOL, "the stub", PAGE) from None


def _stage(context: Context, initrd: Combined | None, pool: int) -> Staged | None:
    """Pages for the combined initrd, on x86 below 4 GiB if there is room.

    A single initrd is not combined: a small one stays in the stub's pool, of which only the first page is known to
    be there. A large one stays where it is, but gets pages here where there are any.
    """
    if initrd is None or not initrd.by_stub:
        return None
    single = len(initrd.initrds) == 1
    try:
        if single and initrd.size + POOL_OVERHEAD <= PAGE:
            context.memory.place(pool, initrd.parts)
            staged = Staged("initrd", pool, initrd.size, "EfiLoaderData", False)
        else:
            staged = _combined(context, initrd)
    except OutOfResources:
        if single:
            return None
        raise halted(context, PAGES, "the initrd", initrd.size) from None
    context.emit(staged)
    return staged


def _combined(context: Context, initrd: Combined) -> Staged:
    """The old boot protocol of x86 is not safe above 4 GiB (systemd-stub 257.13: util.h, xmalloc_initrd_pages)."""
    on_x86 = context.machine in ("x64", "ia32")
    if on_x86 or context.model.joins_initrds_below_4g:
        try:
            return context.memory.stage("initrd", initrd.parts, "EfiLoaderData", below=_GIB4)
        except OutOfResources:
            if not context.model.joins_initrds_anywhere_on_x86:
                raise
    return context.memory.stage("initrd", initrd.parts, "EfiLoaderData")
