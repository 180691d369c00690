"""What the stub asks of a kernel, and its messages; recordings kernel-*, launch-prev-initrd*."""

from __future__ import annotations

import struct

import pytest

from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import RELOCS_STRIPPED, SectionSpec
from stubsim.hosts import Host
from stubsim.hosts.host import Firmware
from stubsim.stub.initrd import Combined
from stubsim.stub.kernel import Started, linux_exec
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.memory_layout import FREE
from tests.stub.harness import KERNEL, Row, Run, make_pe, run, setup_header

BOTH = pytest.mark.parametrize("stub", ["257", "262"])
CODE = bytes(512)
# Where the field stands in what make_pe() makes.
SECTION_ALIGNMENT = 64 + 24 + 32
INITRD = Combined((), [b"initrd"], 6, True)


def start(one: Run, kernel: bytes, cmdline: str | None = None, initrd: Combined | None = None) -> Started:
    return linux_exec(one.context, memoryview(kernel), cmdline, initrd)


def refused(kernel: bytes, *, stub: str = "262", host: Host | None = None, machine: str = "x64") -> tuple[str, str]:
    one = run(host=host, stub=stub)
    with pytest.raises(ProgramFailed) as failure:
        start(Run(one.context._replace(machine=machine), one.trace), kernel)
    assert one.log() in ([failure.value.message], [])
    return failure.value.message, failure.value.status


@BOTH
@pytest.mark.parametrize(("cmdline", "expected"), [(None, None), ("", b"\0\0"), ("ab", "ab\0".encode("utf-16-le"))])
def test_load_options(stub: str, cmdline: str | None, expected: bytes | None):
    """minimal: LoadOptionsSize 0; cmdline-blank: 2."""
    assert start(run(stub=stub), KERNEL, cmdline).load_options == expected


def test_the_sections_are_copied_to_their_places():
    one = run()
    rows = [SectionSpec(name, name.encode().ljust(512, b"\0"), virtual_size=0x1800) for name in (".text", ".data")]
    kernel = make_pe(*rows)
    staged = start(one, kernel).kernel
    assert (staged.name, staged.type) == ("kernel", "EfiLoaderCode")
    assert one.context.memory.read(staged.gpa + 0x1000, 8) == b".text\0\0\0"
    assert one.context.memory.read(staged.gpa + 0x3000, 8) == b".data\0\0\0"
    assert one.context.memory.read(staged.gpa + 0x4000, 8) == bytes(8)
    assert one.context.memory.read(staged.gpa, 2) == b"\0\0"


@pytest.mark.parametrize(
    ("stub", "level", "seen"),
    [("259.7", "warning", True), ("259.8", "warning", False), ("259.8", "debug", True), ("261.1", "error", False)],
)
def test_memory_attributes_of_a_newer_firmware(stub: str, level: str, seen: bool):
    """From UEFI 2.10 on there may be a protocol for them; its absence is a warning, then a word for debugging."""
    host = Host(firmware=Firmware(uefi_revision=2 << 16 | 100))
    one = run(host=host, stub=stub)
    start(Run(one.context._replace(log_level=level), one.trace), KERNEL)
    assert one.unknown() == ["whether the firmware has EFI_MEMORY_ATTRIBUTE_PROTOCOL"] * seen
    assert one.log() == []


@pytest.mark.parametrize(("stub", "told"), [("260.4", False), ("261.0", True)])
def test_an_initrd_is_told_of_at_debug_level(stub: str, told: bool):
    """systemd 261: initrd.c, initrd_register; SMBIOS sets the level since 260.1."""
    one = run(stub=stub, debug=True)
    start(one, KERNEL, initrd=INITRD)
    assert ("Installed new initrd of size 6." in one.log()) == told


@BOTH
@pytest.mark.parametrize("kernel", [b"", b"MZ", b"\x7fELF" + bytes(4096), make_pe((".text", b"x"), machine=0xAA64)])
def test_no_pe_of_this_machine(stub: str, kernel: bytes):
    """kernel-nope, kernel-wrongmachine."""
    assert refused(kernel, stub=stub) == ("Bad kernel image: Load error", "EFI_LOAD_ERROR")


@BOTH
def test_machine_zero_passes_as_the_second_type(stub: str):
    """Booted systemd-stub 262.1 in QEMU, Machine of .linux set to 0: refused later, and by another message."""
    kernel = make_pe((".text", bytes(6144)), machine=0)
    assert refused(kernel, stub=stub) == ("Unsupported kernel image.", "EFI_UNSUPPORTED")
    assert refused(kernel, stub=stub, machine="ia32") == ("Bad kernel image: Load error", "EFI_LOAD_ERROR")


@BOTH
@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"magic": b"HdrX"}, "Unsupported kernel image."),
        ({"boot_flag": 0}, "Unsupported kernel image."),
        ({"version": 0x20A}, "Kernel too old."),
        ({"relocatable": 0}, "Kernel is not relocatable."),
        ({"flags": 0x04}, "Kernel does not support EFI handover protocol."),
        # 2.11 has no xloadflags yet, so relocatable is asked for first and they are not looked at.
        ({"version": 0x20B, "flags": 0, "relocatable": 0}, "Kernel is not relocatable."),
    ],
)
def test_the_old_handover(stub: str, header: dict[str, int], message: str):
    """kernel-version0; the messages behind the first one are those of the public source (linux_x86.c)."""
    assert refused(setup_header(**header), stub=stub) == (message, "EFI_UNSUPPORTED")  # type: ignore[arg-type]


@pytest.mark.parametrize("header", [{}, {"version": 0x20B, "flags": 0}])
def test_an_old_kernel_that_may_start_is_unknown_ground(header: dict[str, int]):
    one = run()
    start(one, setup_header(**header))  # type: ignore[arg-type]
    assert len(one.unknown()) == 1


# Offsets in what make_pe() writes; the optional header stands behind the two at 0x40.
MACHINE, COUNT, OPTIONAL_SIZE, ENTRY_POINT, IMAGE_SIZE = 0x44, 0x46, 0x54, 0x58 + 16, 0x58 + 56
HEADERS_SIZE, SUBSYSTEM, DIRECTORIES = 0x58 + 60, 0x58 + 68, 0x58 + 108
BAD = "Bad kernel image: Load error"


def patched(offset: int, layout: str, value: int, kernel: bytes = KERNEL) -> bytes:
    data = bytearray(kernel)
    struct.pack_into(layout, data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (DIRECTORIES, "<I", 6, None),
        (DIRECTORIES, "<I", 5, BAD),
        (DIRECTORIES, "<I", 0, BAD),
        (OPTIONAL_SIZE, "<H", 159, BAD),
        (OPTIONAL_SIZE, "<H", 0, BAD),
        (OPTIONAL_SIZE, "<H", 0xF000, "Cannot read sections: Load error"),
        (ENTRY_POINT, "<I", 0x1FFF, None),
        (ENTRY_POINT, "<I", 0x2000, BAD),
        (IMAGE_SIZE, "<I", 0, BAD),
        # The whole table has to lie in the kernel's bytes, (1024 - 0x148) / 40 = 17 entries.
        (COUNT, "<H", 17, "Inner kernel image contains sections with relocations, which we do not support."),
        (COUNT, "<H", 18, "Cannot read sections: Load error"),
        (COUNT, "<H", 5000, "Cannot read sections: Load error"),
        (SUBSYSTEM, "<H", 3, None),
        (HEADERS_SIZE, "<I", 0x10, None),
    ],
)
def test_headers_that_262_checks(offset: int, layout: str, value: int, message: str | None):
    """Booted systemd-stub 262.1 in QEMU, each of them patched in the .linux of a UKI."""
    kernel = patched(offset, layout, value)
    if message is None:
        assert start(run(), kernel)
    else:
        assert refused(kernel) == (message, "EFI_LOAD_ERROR")


def test_order_of_the_header_checks():
    """Booted systemd-stub 262.1 in QEMU: the directory, then version and machine, entry point, relocations, table."""
    old = make_pe((".text", bytes(6144)), major_image_version=0)
    assert refused(patched(DIRECTORIES, "<I", 0, old))[0] == BAD
    assert refused(patched(IMAGE_SIZE, "<I", 0, old))[0] == "Unsupported kernel image."
    assert refused(patched(DIRECTORIES, "<I", 0, make_pe((".text", bytes(6144)), machine=0)))[0] == BAD
    relocations = make_pe((".text", CODE), base_relocations=(0x1000, 8))
    assert "base relocations" in refused(patched(COUNT, "<H", 5000, relocations))[0]


@pytest.mark.parametrize(
    ("offset", "layout", "value", "status"),
    [
        (DIRECTORIES, "<I", 0, "Unsupported"),
        (DIRECTORIES, "<I", 5, "Unsupported"),
        (COUNT, "<H", 97, "Unsupported"),
        (SUBSYSTEM, "<H", 3, "Unsupported"),
        (HEADERS_SIZE, "<I", 0x10, "Unsupported"),
        (IMAGE_SIZE, "<I", 0x1000, "Load error"),
    ],
)
def test_headers_that_the_firmware_checks_for_257(offset: int, layout: str, value: int, status: str):
    """Booted systemd-stub 257.13 in QEMU with OVMF 2022.11, each of them patched in the .linux of a UKI."""
    message = f"Error loading kernel image: {status}"
    assert refused(patched(offset, layout, value), stub="257")[0] == message


def test_a_kernel_cut_short_on_257():
    """Booted systemd-stub 257.13 in QEMU, the last 512 bytes of .linux missing."""
    assert refused(KERNEL[:-1], stub="257") == ("Error loading kernel image: Unsupported", "EFI_UNSUPPORTED")


@pytest.mark.parametrize("size", [208, 314, 327])
def test_262_asks_for_whole_headers(size: int):
    """262.1's own code in emulation: up to 327 bytes, where the headers of 16 directories end; then for the table."""
    assert refused(KERNEL[:size]) == ("Bad kernel image: Load error", "EFI_LOAD_ERROR")
    assert refused(KERNEL[:328]) == ("Cannot read sections: Load error", "EFI_LOAD_ERROR")


@pytest.mark.parametrize(("stub", "unknown"), [("257", True), ("252", True), ("262", False)])
@pytest.mark.parametrize("size", [64, 64 + 2, 64 + 4, 64 + 24, 130])
def test_older_stubs_read_what_lies_behind_a_kernel_cut_short(stub: str, unknown: bool, size: int):
    """257.13's own code in emulation says what the memory there happens to lead to."""
    one = run(stub=stub)
    with pytest.raises(ProgramFailed):
        start(one, KERNEL[:size])
    assert one.unknown() == ["how the kernel is refused"] * unknown
    one = run(stub=stub)
    with pytest.raises(ProgramFailed):
        start(one, patched(0x3C, "<I", 0x5A5A5A5A))
    assert one.unknown() == ["how the kernel is refused"] * unknown


@BOTH
@pytest.mark.parametrize("size", [0x206, 0x210, 0x234, 0x400, 4095])
def test_less_than_a_page_of_boot_parameters(stub: str, size: int):
    """Public source (linux_x86.c): refused without a message."""
    assert refused(setup_header()[:size], stub=stub) == ("Load error", "EFI_LOAD_ERROR")


def test_no_old_handover_outside_x86():
    kernel = make_pe((".text", bytes(6144)), major_image_version=0, machine=0xAA64)
    assert refused(kernel, machine="aa64") == ("Bad kernel image: Unsupported", "EFI_UNSUPPORTED")


def test_compat_entry():
    """A kernel for another machine goes on by an entry in `.compat`, and tries the old handover without one.

    Ran the code of 262.1 and 257.13 with a kernel of machine 0: neither starts it (the section table is read by rules
    that know of no second machine; the firmware's LoadImage() refuses it). By the same source 262 does not start a
    64-bit kernel on 32-bit firmware, where LoadImage() takes it.
    """
    old_handover = ("Unsupported kernel image.", "EFI_UNSUPPORTED")
    cannot_read = ("Cannot read sections: Load error", "EFI_LOAD_ERROR")

    def kernel(*rows: tuple[int, int, int], machine: int = 0) -> bytes:
        entries = b"".join(struct.pack("<BBHI", kind, size, own, 0x1000) for kind, size, own in rows)
        # In the file as in memory, as Linux has it.
        return make_pe(SectionSpec(".compat", entries.ljust(6144, b"\0"), virtual_address=512), machine=machine)

    assert refused(kernel((1, 8, 0x8664))) == cannot_read
    assert refused(kernel((1, 8, 0x14C), (1, 8, 0x8664))) == cannot_read
    assert refused(kernel((1, 8, 0x8664)), stub="257") == (
        "Error loading kernel image: Unsupported",
        "EFI_UNSUPPORTED",
    )
    for rows in ((), ((1, 8, 0x14C),), ((0, 8, 0x8664),), ((1, 7, 0x8664),), ((2, 8, 0x8664),), ((1, 0, 0x8664),)):
        assert refused(kernel(*rows)) == old_handover
    # Without a page in the file it is not even looked at.
    assert refused(make_pe((".compat", b"x"), machine=0)) == ("Load error", "EFI_LOAD_ERROR")
    assert refused(kernel((1, 8, 0x14C), machine=0x8664), machine="ia32") == cannot_read
    context = run(stub="257").context._replace(machine="ia32")
    assert linux_exec(context, memoryview(kernel((1, 8, 0x14C), machine=0x8664)), None, None).kernel
    plain = make_pe((".text", bytes(6144)))
    assert refused(plain, machine="ia32") == old_handover
    # The other way round does not work.
    kernel = make_pe((".text", b"x"), (".compat", b"y"), machine=0x14C)
    assert refused(kernel) == ("Bad kernel image: Load error", "EFI_LOAD_ERROR")


RELOCATIONS = [(".text", b"x"), (".reloc", bytes.fromhex("001000000c000000 00a0 0000"))]


def test_base_relocations():
    """kernel-reloc: 262 refuses them, 257 leaves them to the firmware, which applies sound ones."""
    sound = make_pe(*RELOCATIONS, base_relocations=(0x2000, 12))  # type: ignore[arg-type]
    assert refused(sound) == (
        "Inner kernel image contains base relocations, which we do not support.",
        "EFI_LOAD_ERROR",
    )
    assert start(run(stub="257"), sound)
    broken = make_pe(*RELOCATIONS, base_relocations=(0x5000, 12))  # type: ignore[arg-type]
    assert refused(broken, stub="257") == ("Error loading kernel image: Load error", "EFI_LOAD_ERROR")


@pytest.mark.parametrize(
    ("rows", "headers", "message"),
    [
        (
            [SectionSpec(".text", b"x", relocations_offset=1)],
            {},
            "Inner kernel image contains sections with relocations, which we do not support.",
        ),
        # kernel-rawlarger: 600 bytes are padded to 1024 in the file.
        (
            [SectionSpec(".text", bytes(600), virtual_size=600)],
            {},
            "Invalid PE section, raw data size is greater than virtual size",
        ),
        (
            [SectionSpec(".text", bytes(512), virtual_address=0x9000)],
            {"size_of_image": 0x2000},
            "Section would write outside of memory",
        ),
        (
            [SectionSpec(".text", bytes(512), virtual_size=0x9000)],
            {"size_of_image": 0x2000},
            "Section virtual size would write outside of memory",
        ),
        (
            [SectionSpec(".text", bytes(512), virtual_address=0xFFFFFF00)],
            {"size_of_image": 0x2000},
            "Invalid PE section, SizeOfRawData + VirtualAddress, overflows",
        ),
    ],
)
def test_262_loads_the_kernel_itself(rows: list[Row], headers: dict[str, int], message: str):
    assert refused(make_pe(*rows, **headers)) == (message, "EFI_LOAD_ERROR")


def test_257_leaves_loading_to_the_firmware():
    assert start(run(stub="257"), make_pe(SectionSpec(".text", bytes(600), virtual_size=600)))


def test_data_outside_of_the_kernel():
    kernel = make_pe(SectionSpec(".text", bytes(512), virtual_size=512))
    assert refused(kernel[:-1])[0] == "Invalid PE section, raw data extends outside of file"


def test_no_memory_for_the_kernel():
    host = Host(memory=64 << 20)
    kernel = make_pe((".text", CODE), size_of_image=1 << 30)
    asserted = "systemd-boot: Assertion 'BS->AllocatePages(type, memory_type, n_pages, &{}) == EFI_SUCCESS' failed"
    for stub, message in (
        ("257", "Error loading kernel image: Out of resources"),
        ("258", asserted.format("addr")),
        ("262", asserted.format("aligned")),
    ):
        assert refused(kernel, stub=stub, host=host) == (message, "EFI_OUT_OF_RESOURCES")


@pytest.mark.parametrize(("stub", "alignment"), [("262", 0x10000), ("257", 0x10000), ("262", 0x200000)])
def test_the_kernel_is_aligned_as_it_asks(stub: str, alignment: int):
    """aa64: kernel-align64k. 262 gives back what it cuts off, the firmware of 257 does not."""
    one, plain = run(stub=stub), run(stub=stub)
    kernel = make_pe((".text", CODE), section_alignment=alignment)
    staged = start(one, kernel).kernel
    assert staged.gpa % alignment == 0
    taken = staged.size if stub == "262" else staged.size + alignment
    plain.context.memory.allocate(taken, "EfiLoaderCode")
    assert free_pages(one) == free_pages(plain)


def free_pages(one: Run) -> int:
    return sum(row.pages for row in one.context.memory.map() if row.type == FREE)


def odd_alignment() -> bytes:
    kernel = bytearray(make_pe((".text", CODE)))
    struct.pack_into("<I", kernel, SECTION_ALIGNMENT, 98304)
    return bytes(kernel)


@pytest.mark.parametrize(("stub", "told"), [("262", True), ("260.2", False), ("260.3", True), ("257", False)])
def test_an_alignment_that_is_no_power_of_two(stub: str, told: bool):
    """aa64: kernel-align-odd@262.1, the same as pages."""
    one = run(stub=stub)
    start(one, odd_alignment())
    message = "PE SectionAlignment 98304 is not a power of 2, falling back to page alignment."
    assert one.log() == [message] * told


def test_an_alignment_that_is_no_power_of_two_is_a_warning():
    """262.1's own code says nothing of it at loglevel=err."""
    one = run()
    quiet = Run(one.context._replace(log_level="error"), one.trace)
    start(quiet, odd_alignment())
    assert quiet.log() == []


def test_a_kernel_without_relocations_has_one_place():
    """aa64: kernel-relocs-stripped; 262 does not look at that."""
    kernel = make_pe((".text", CODE), image_base=0x140000000, characteristics=0x22 | RELOCS_STRIPPED)
    assert refused(kernel, stub="257") == ("Error loading kernel image: Not found", "EFI_NOT_FOUND")
    assert start(run(), kernel).kernel
    large = run(host=Host(memory=8 << 30), stub="257")
    assert start(large, kernel).kernel.gpa == 0x140000000


def test_a_driver_as_kernel_on_257():
    """aa64: kernel-subsystem-driver."""
    kernel = make_pe((".text", CODE), subsystem=11)
    assert start(run(stub="257"), kernel).kernel.type == "EfiBootServicesCode"
    assert start(run(), kernel).kernel.type == "EfiLoaderCode"


def test_an_earlier_initrd_stops_257():
    """launch-prev-initrd."""
    one = run(host=Host(previous_initrd=b"earlier"), stub="257")
    with pytest.raises(ProgramFailed, match=r"^Error registering initrd: Already started$") as failure:
        start(one, KERNEL, initrd=INITRD)
    assert failure.value.status == "EFI_ALREADY_STARTED"


@pytest.mark.parametrize("initrd", [None, Combined((), [b"earlier"], 7, False)])
def test_an_earlier_initrd_does_no_harm_where_257_has_none(initrd: Combined | None):
    """launch-prev-initrd-none."""
    assert start(run(host=Host(previous_initrd=b"earlier"), stub="257"), KERNEL, initrd=initrd)


def test_262_replaces_an_earlier_initrd():
    """launch-prev-initrd-debug."""
    one = run(host=Host(previous_initrd=b"earlier"), debug=True)
    start(one, KERNEL, initrd=INITRD)
    assert "Successfully unregistered previous LINUX_INITRD_MEDIA device." in one.log()


@pytest.mark.parametrize(("stub", "handed"), [("257", None), ("258.0", "@0"), ("262", "@0")])
def test_load_options_pass_through_where_there_is_no_command_line(stub: str, handed: str | None):
    """Booted systemd-stub 262.1 and, by the source of every tag since, 258: unmeasured, as the firmware gave them."""
    one = run(stub=stub, load_options="@0")
    started = linux_exec(one.context, make_pe((".text", CODE)), None, None)
    assert started.load_options == (None if handed is None else utf16z(handed))
    assert one.measured(12) == []


MANY = make_pe(*((f".s{number}", CODE) for number in range(97)))


@pytest.mark.parametrize(
    ("stub", "is_refused"), [("257.2", True), ("257.3", False), ("256.11", True), ("252.39", False)]
)
def test_more_than_96_sections(stub: str, is_refused: bool):
    """systemd issue 35943: there was a cap (pe.c, verify_pe)."""
    if is_refused:
        text = "Bad kernel image: Load error"
        assert refused(MANY, stub=stub) == (text, "EFI_LOAD_ERROR")
    else:
        start(run(stub=stub), MANY)


@pytest.mark.parametrize(("stub", "message"), [("259.7", None), ("259.8", "Cannot read sections: Load error")])
def test_a_section_table_that_is_cut_off(stub: str, message: str | None):
    """systemd 259.8: pe.c, pe_headers_from_base; before, the stub reads on behind .linux."""
    whole = make_pe((".text", CODE))
    table_end = 64 + 24 + 240 + 40
    cut = bytearray(whole[: table_end - 8])
    if message is not None:
        assert refused(bytes(cut), stub=stub) == (message, "EFI_LOAD_ERROR")
        return
    one = run(stub=stub)
    start(one, bytes(cut))
    assert one.unknown() == ["how the kernel is refused"]
