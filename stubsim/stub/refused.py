"""What is known of a boot that fails, and what the stub or the firmware does not say of it."""

from __future__ import annotations

from collections.abc import Mapping

from stubsim.extent import Bytes
from stubsim.formats import pe
from stubsim.stub.context import Context
from stubsim.uki import Uki


def profile_missing(uki: Uki, asked: int) -> str:
    """Why there is no profile of the number asked for."""
    count = len(uki.profiles)
    has = "no profiles" if not count else "profile 0 only" if count == 1 else f"profiles 0 to {count - 1}"
    return f"profile {asked} is asked for, and the UKI has {has}"


def linux_missing(uki: Uki, found: Mapping[str, pe.Section]) -> str:
    """Why there is no kernel among the sections settled on."""
    empty = found.get(".linux")
    if empty is not None:
        return f"section {empty.index} (.linux) has VirtualSize 0, so it counts as missing"
    owners = [profile.index for profile in uki.profiles if any(row.name == ".linux" for row in profile.sections)]
    if owners:
        numbers = ", ".join(map(str, owners))
        return f"only profile{'' if len(owners) == 1 else 's'} {numbers} of the UKI has a .linux"
    return "the image has no section of that name: it is an addon, or not a UKI at all"


def kernel_headers(context: Context, kernel: Bytes) -> str:
    """Why a stub that takes the context's machine types finds no headers that it accepts."""
    if bytes(kernel[:2]) != b"MZ":
        start = bytes(kernel[:4]).hex(" ") or "nothing at all"
        return f".linux is not a PE image: it starts with {start}, and MZ would be 4d 5a"
    headers = pe.read_headers(kernel)
    if headers is None or len(kernel) < headers.end:
        return ".linux starts with MZ, but its PE headers are missing, damaged or cut short"
    if pe.MACHINES.get(headers.machine) == context.machine:
        return ".linux has no table of base relocations, which the stub requires"
    return for_another_machine(context, headers)


def for_another_machine(context: Context, headers: pe.Headers) -> str:
    machine = pe.MACHINES.get(headers.machine, f"machine type {headers.machine:#06x}")
    return f".linux is for {machine}, and the stub for {context.machine}"


def before_5_8(context: Context, headers: pe.Headers) -> str:
    """Why a kernel is not started by its PE entry, but by one that it has not got (systemd-stub, linux_exec)."""
    if pe.MACHINES.get(headers.machine) != context.machine:
        return for_another_machine(context, headers)
    return (
        f".linux has MajorImageVersion {headers.major_image_version}, as Linux before 5.8 has, which does not take its "
        "initrd as the stub offers it"
    )


def by_load_image(headers: pe.Headers, status: str) -> str:
    """Why the firmware's LoadImage() does not take the kernel."""
    if headers.subsystem not in pe.EFI_SUBSYSTEMS:
        return f".linux has the PE subsystem {headers.subsystem}, which is not one of EFI programs"
    what = "headers or sections" if status == "EFI_UNSUPPORTED" else "sections or base relocations"
    return f"the firmware's LoadImage() does not accept the {what} of .linux"


def no_relocations(what: str, headers: pe.Headers | pe.Image) -> str:
    """Why an image with IMAGE_FILE_RELOCS_STRIPPED has no place (EDK II, CoreLoadPeImage)."""
    return (
        f"{what} is marked as having no relocations, so the firmware loads it at {headers.image_base:#x} only, and "
        "there is no free memory"
    )


def signature_missing(context: Context, uki: Uki) -> str:
    """Why Secure Boot keeps an image from starting."""
    if uki.image.certificate_table[1] == 0:
        return "Secure Boot is on, and the image has no signature (no certificate table)"
    return "Secure Boot is on, and no signature of the image leads to a certificate of --db"


def out_of_memory(context: Context, what: str, size: int) -> str:
    """Why there are no pages for something of so many bytes."""
    total, free = context.memory.size, context.memory.free_size
    return (
        f"{what} takes {_mib(size)} of memory in one piece, and the machine has {_mib(total)} in all, "
        f"{_mib(free)} of them free by then"
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
