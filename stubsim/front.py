"""What stands before the stub, by options, partition and host file; its stage is loaded only where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from stubsim.errors import StubsimError
from stubsim.hosts import Host
from stubsim.hosts.host import changed
from stubsim.rows import NamedTuple
from stubsim.start import Start, profile_number
from stubsim.stub.context import Context
from stubsim.trace import Unknown
from stubsim.uefi.esp import Esp, same_name
from stubsim.uefi.image_path import QEMU_KERNEL, usual_boot_file
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.variables import LOADER, Variables, WatchedVariables

if TYPE_CHECKING:
    from collections import Counter

    from stubsim.loader.entry import Entry
    from stubsim.loader.image import Loader
    from stubsim.loader.menu import Menu
    from stubsim.shim.image import Shim

_UNTOLD = "nothing tells whether the firmware or a boot loader has started the UKI"


class Front(NamedTuple):
    """The boot loader and the entry that it starts, with load options ``given`` in place of the entry's own."""

    menu: Menu
    entry: Entry
    given: bytes | None

    @property
    def loader(self) -> Loader:
        return self.menu.loader


def shim_of(context: Context, start: Start) -> Shim | None:
    """shim, where it is what the firmware starts: the boot loader's or the UKI's path is that of its second stage.

    Raises StubsimError for a shim that cannot be read, or starts another program.
    """
    esp, path = context.image.esp, context.image.path
    if start.loader == "qemu-kernel" or start.shell is not None or esp is None or esp.root is None:
        return None
    from stubsim.shim.image import find_shim

    # Without a boot loader it is the UKI that the firmware starts, or shim.
    started = path if start.loader == "none" and start.boot_file is None else start.boot_file
    shim = find_shim(esp, context.machine, started)
    if shim is not None and path is not None and _starts_it_by_load_options(context, start, shim, path):
        return shim._replace(second_stage=path, by_load_options=True)
    second = None if shim is None else esp.read(shim.second_stage)
    if shim is None or second is None:
        return None
    if start.loader == "none":
        return shim if path is not None and same_name(path, shim.second_stage) else None
    return shim


def _starts_it_by_load_options(context: Context, start: Start, shim: Shim, path: str) -> bool:
    """Whether the firmware starts shim, and shim this UKI, though it starts another program by itself.

    Its load options name the UKI then, as the boot entries do that virt-firmware's kernel-bootcfg writes (shim,
    load-options.c, parse_load_options).
    """
    from stubsim.loader.image import find_loader
    from stubsim.shim.image import stage_path

    esp = context.image.esp
    if start.boot_file is None or not same_name(start.boot_file, shim.path) or same_name(path, shim.second_stage):
        return False
    if start.entry is not None or start.loader is not None or esp is None:
        return False
    if stage_path(path, shim.path) != path:
        return False
    return esp.read(shim.second_stage) is None or find_loader(esp, context.machine, shim.second_stage) is None


def started_by_shim(context: Context, shim: Shim, *, whole_store: bool) -> Context:
    """The machine as shim's second stage finds it. Raises ProgramFailed."""
    from stubsim.shim import run

    host = context.host
    firmware = context.services._replace(by="firmware")
    if not firmware.takes_image(shim.image, shim.path, secure_boot=host.secure_boot):
        raise ProgramFailed("The firmware refuses an image without a trusted signature.", "EFI_ACCESS_DENIED")
    esp = context.image.esp
    files = () if esp is None or not host.secure_boot else run.unbundled(shim, esp)
    services = run.run(context.services._replace(by="shim"), shim, host, files, whole_store=whole_store)
    context.unknown("where images and initrd lie", "what shim allocates was never recorded", "memory")
    return context._replace(services=services._replace(by="stub"))


def front_of(context: Context, start: Start, shim: Shim | None = None) -> tuple[Front | None, tuple[str, ...]]:
    """The loader that starts the UKI, None where the firmware does; and what was taken for granted.

    Raises StubsimError for contradicting options, and for an entry that was asked for and is not there.
    """
    asked = start.loader == "systemd-boot" or start.entry is not None
    _refuse(start, asked=asked)
    esp = context.image.esp
    if start.loader in ("none", "qemu-kernel") or start.shell is not None or esp is None or esp.root is None:
        return None, ()
    from stubsim.loader.image import find_loader
    from stubsim.loader.menu import Partitions, choose, menu_of

    boot_file = start.boot_file if shim is None else shim.second_stage
    loader = find_loader(esp, context.machine, boot_file)
    if loader is None:
        if asked:
            expected = "systemd-boot, as what the firmware starts (--boot-file)"
            raise StubsimError("no systemd-boot there", path=esp.root, expected=expected)
        if shim is not None and same_name(context.image.path or "", shim.second_stage):
            told = f"{shim.path} is shim, and is started with load options that name the UKI"
            return None, (told,) if shim.by_load_options else ()
        return None, () if start.loader == "none" else tuple(_another_program(context, start, esp))
    partitions = Partitions(esp, None if start.xbootldr is None else Esp(start.xbootldr))
    menu = menu_of(loader, context.host, partitions)
    profile = 0 if start.profile is None else profile_number(context.uki, start.profile)
    try:
        entry = choose(menu, wanted=start.entry, path=context.image.path, profile=profile)
    except StubsimError as error:
        if asked:
            raise
        return None, (f"{error.message}: the firmware is taken to start the UKI itself, not the systemd-boot in --esp",)
    _same_image(context, entry, partitions.of(entry))
    given = None
    if start.load_options is not None or (start.profile is not None and entry.profile != profile):
        given = context.image.load_options
    return Front(menu, entry, given), tuple(_said(menu, entry, context.host))


def loader_started(context: Context, front: Front, watch: Counter[str] | None, *, by: str) -> Context:
    """The machine as the loader finds it, which ``by`` has started; raises ProgramFailed where that refuses it.

    What the host file has of the loader's own output goes: it is written anew.
    """
    from stubsim.loader.run import WRITES

    loader, before = front.loader, context.services._replace(by=by)
    if not before.takes_image(loader.image, loader.path, secure_boot=context.host.secure_boot):
        raise ProgramFailed(f"The {by} refuses an image without a trusted signature.", "EFI_ACCESS_DENIED")
    known = (row[:4] for row in context.services.variables.items())
    initial = [row for row in known if row[1] != LOADER or row[0] not in WRITES]
    variables = Variables(initial) if watch is None else WatchedVariables(initial, watch)
    return context._replace(services=context.services._replace(by="loader", variables=variables))


def started_by_loader(context: Context, front: Front, load_image: Callable[[Context], ProgramFailed | None]) -> Context:
    """The machine as the stub finds it behind the loader; ``load_image`` loads the UKI. Raises ProgramFailed."""
    from stubsim.loader import run

    loader, host, services = front.loader, context.host, context.services
    image = context.image._replace(esp=front.menu.partitions.of(front.entry))

    def load(path: str) -> ProgramFailed | None:
        return load_image(context._replace(image=image._replace(path=path)))

    handed = run.run(services, front.menu, host, front.entry, given=front.given, load_image=load)
    context.unknown(
        "where images and initrd lie", f"what systemd-boot {loader.version} allocates was never recorded", "memory"
    )
    if handed.initrd is not None or handed.devicetree is not None:
        host = changed(
            host,
            previous_initrd=host.previous_initrd if handed.initrd is None else handed.initrd,
            devicetree=host.devicetree if handed.devicetree is None else bytes(handed.devicetree),
        )
    if front.entry.partition != "esp":
        if host.xbootldr_partition_uuid is None:
            why = "the host file has no GUID of the XBOOTLDR partition (xbootldr_partition_uuid)"
            context.unknown("StubDevicePartUUID", why, "variables")
        host = changed(host, esp_partition_uuid=host.xbootldr_partition_uuid or host.esp_partition_uuid)
    image = image._replace(path=handed.path, load_options=handed.load_options)
    return context._replace(image=image, host=host, services=services._replace(by="stub"))


def note_unseen_loader(context: Context, start: Start) -> None:
    """A boot loader that was not simulated, or may have been there: it measures load options before the stub."""
    image = context.image
    if not image.load_options or start.loader is not None or image.shell is not None:
        return
    if context.variables.get("LoaderInfo") is not None:
        why = "the boot loader of LoaderInfo has also measured the load options and is not in --esp (--loader none)"
        context.emit(Unknown("PCR 12", why, ("pcrs",), (12,)))
        return
    untold_why = untold(context.host, start)
    if untold_why is not None:
        why = f"{untold_why}, and a boot loader also measures the load options"
        context.emit(Unknown("PCR 12", why, ("pcrs",), (12,)))


def untold(host: Host, start: Start) -> str | None:
    """Why it is not known what has started the UKI; None where options, partition or host file tell."""
    told = start.loader is not None or start.esp is not None or start.shell is not None or start.from_memory
    if told or host.direct_boot is not None or start.path == QEMU_KERNEL or "variables" not in host.unknown:
        return None
    return f"{_UNTOLD} (--esp, --loader)"


def _refuse(start: Start, *, asked: bool) -> None:
    front = next((name for name, value in _of_a_loader(start).items() if value is not None), None)
    if start.loader in ("none", "qemu-kernel") and front is not None:
        raise StubsimError(
            f"{front} asks for a boot loader, and --loader {start.loader} means none", expected="one of them"
        )
    if asked and (start.shell is not None or start.from_memory):
        other = "--from-memory" if start.from_memory else "--shell"
        raise StubsimError(f"{other} excludes a boot loader", expected="either a boot loader or that")
    if asked and start.esp is None:
        raise StubsimError("a boot loader is on a partition", expected="its tree (--esp)")
    if start.loader == "qemu-kernel" and start.esp is not None:
        raise StubsimError("QEMU's -kernel is on no partition", expected="no --esp with --loader qemu-kernel")


def _of_a_loader(start: Start) -> dict[str, str | None]:
    return {"--entry": start.entry, "--boot-file": start.boot_file, "--xbootldr": start.xbootldr}


def _same_image(context: Context, entry: Entry, esp: Esp) -> None:
    data = esp.read(entry.loader or "")
    if data is None or len(data) != context.uki.size or data != context.uki.image.data:
        raise StubsimError(
            f"the entry {entry.id} starts {entry.loader}, which is another file",
            path=context.uki.path,
            expected="the file that the entry names",
        )


def _another_program(context: Context, start: Start, esp: Esp) -> Iterator[str]:
    """What the firmware starts from the partition, where that is neither systemd-boot nor the UKI."""
    path, image = start.boot_file or usual_boot_file(context.machine), context.image
    data = esp.read(path)
    if data is None or (image.path is not None and same_name(image.path, path)):
        return
    if len(data) != context.uki.size or data != context.uki.image.data:
        yield f"the firmware is taken to start the UKI itself, not {path} in --esp, which is not systemd-boot"


def _said(menu: Menu, entry: Entry, host: Host) -> Iterator[str]:
    from stubsim.loader.menu import equals, offers_setup

    loader = menu.loader
    yield f"systemd-boot {loader.version} ({loader.path}) starts it by the entry {entry.id} (--loader, --entry)"
    if offers_setup(host) is None:
        yield "the firmware is taken to offer its set-up, which LoaderEntries names (variable OsIndicationsSupported)"
    if rivals := [row.file for row in equals(menu, entry) if row.file is not None]:
        yield (
            f"{entry.file} and {' and '.join(rivals)} are equal to systemd-boot, which takes the one that comes first "
            "in its folder: taken to be the first by name"
        )


def differing(host: Host, variables: Variables) -> Iterator[str]:
    """What the host file says that systemd-boot wrote, and the simulated one did not write; times apart."""
    from stubsim.loader.run import WRITES

    for row in host.variables:
        if row.guid == LOADER and row.name in WRITES and "Time" not in row.name:
            ours = variables.get(row.name)
            if ours is None or ours.data != row.data:
                yield f"{row.name} of the host file is not what this systemd-boot writes"
