"""How a UKI was started, and what the stub is given then."""

from __future__ import annotations

from collections.abc import Callable

from stubsim.digests import Digests
from stubsim.errors import StubsimError
from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.hosts.host import DirectBoot, changed
from stubsim.machine.tpm import Tpm
from stubsim.rows import NamedTuple
from stubsim.stub.arguments import end_of_program, split_shell_line
from stubsim.stub.context import Context
from stubsim.stub.log_level import log_level
from stubsim.stub.models import StubModel
from stubsim.trace import Emit
from stubsim.uefi import image_path
from stubsim.uefi.esp import Esp
from stubsim.uefi.loaded_image import LoadedImage
from stubsim.uefi.machine_memory import memory_of
from stubsim.uefi.services import Services
from stubsim.uefi.variables import Variables
from stubsim.uki import Uki


class Start(NamedTuple):
    """How the UKI was started; the fields are the options of the same names of every command that boots.

    ``esp`` is a folder of the host, ``path`` the UKI's path below it; ``load_options`` are raw bytes;
    ``profile`` is a number or an id; ``memory`` is bytes of RAM in place of the host's. ``trusted`` tells whether an
    image's signature leads to a certificate in db; None: a certificate table is enough. ``loader`` is none,
    systemd-boot, qemu-kernel, or None for what the partition shows; ``boot_file`` is its path there, ``entry`` what it
    starts. ``whole_store``: the host's variables are all that there are, also those that no system sees.
    """

    esp: str | None = None
    path: str | None = None
    load_options: bytes | None = None
    shell: str | None = None
    from_memory: bool = False
    profile: int | str | None = None
    memory: int | None = None
    # a name as --stub takes it, or a model made for a comparison
    stub: str | StubModel | None = None
    handover: str | None = None
    follow: bool = False
    trusted: Callable[[Uki], bool] | None = None
    loader: str | None = None
    boot_file: str | None = None
    entry: str | None = None
    xbootldr: str | None = None
    whole_store: bool = False


DEFAULT_START = Start()


def start_context(
    uki: Uki, host: Host, start: Start, model: StubModel, *, image: LoadedImage, tpm: Tpm, digests: Digests, emit: Emit
) -> Context:
    """What the stub's steps are given at the start of a run."""
    if image.path == image_path.QEMU_KERNEL:
        # The file system that OVMF makes of QEMU's files is on no partition.
        host = changed(host, esp_partition_uuid=None)
    level = log_level(host, model)
    memory = memory_of(host, uki.machine, start.memory)
    services = Services("stub", memory, tpm, Variables(host.variables), digests, start.trusted, emit)
    return Context(uki, image, host, model, uki.machine, services, level)


def assumed(host: Host, start: Start, loaded: Loaded) -> tuple[str, ...]:
    """What was taken for granted because nothing was said."""
    assumed = [*loaded.assumed]
    from_partition = not start.from_memory and loaded.image.path != image_path.QEMU_KERNEL
    if start.esp is None and from_partition:
        assumed.append("no --esp: the partition is taken to hold no addons, credentials or extensions")
    if host.esp_partition_uuid is None and from_partition:
        assumed.append(
            "no esp_partition_uuid: the UKI is taken to come from no partition, so the stub sets no *DevicePartUUID "
            "and has no random seed"
        )
    if host.secure_boot and start.trusted is None:
        assumed.append("no --db: an image counts as signed when it has a certificate table; signatures are not checked")
    if host.damage is not None:
        assumed.append(
            f"the SMBIOS table is damaged ({host.damage}): what lies behind is taken to be nothing to the stub"
        )
    return tuple(assumed)


class Loaded(NamedTuple):
    """The image as the stub finds itself, and what was taken for granted of its path and load options."""

    image: LoadedImage
    assumed: tuple[str, ...] = ()


def loaded_image(uki: Uki, host: Host, start: Start) -> Loaded:
    """What the firmware says of the image; raises StubsimError for contradicting options and an esp that is none."""
    if start.from_memory and (start.esp is not None or start.path is not None):
        raise StubsimError("--from-memory means no device and no path", expected="no --esp and no --path")
    if start.shell is not None and start.load_options is not None:
        raise StubsimError("the UEFI shell makes the load options", expected="either --shell or load options")
    direct = host.direct_boot
    if start.loader == "qemu-kernel":
        direct = direct or DirectBoot(None)
    otherwise = start.from_memory or (start.esp, start.path, start.shell) != (None, None, None)
    if direct is not None and not otherwise:
        given = start.load_options
        if given is None and direct.load_options is not None:
            given = utf16z(direct.load_options)
        image = LoadedImage(Esp(None), image_path.QEMU_KERNEL, *_with_profile(uki, start, given))
        return Loaded(image, ("QEMU's -kernel is taken to be this UKI: it comes from no partition (--esp, --path)",))
    notes = () if direct is None else ("QEMU's -kernel, -append and -initrd are not used: it is started otherwise",)
    options, shell = _with_profile(uki, start, start.load_options)
    if start.from_memory:
        return Loaded(LoadedImage(None, None, options, shell), notes)
    esp = Esp(start.esp)
    path, assumed = image_path.found(uki, esp) if start.path is None else image_path.given(uki, esp, start.path)
    return Loaded(LoadedImage(esp, path, options, shell), notes + assumed)


def _with_profile(uki: Uki, start: Start, options: bytes | None) -> tuple[bytes | None, tuple[str, ...] | None]:
    """Load options and the shell's words, with a profile asked for as a boot loader does: in front of all else."""
    prefix = None if start.profile is None else f"@{profile_number(uki, start.profile)}"
    if start.shell is not None:
        # The shell keeps the line but for the blanks around it (EDK II, TrimSpaces; 262.1 in QEMU: '  "uki.efi"  ').
        line = start.shell.strip(" \t")
        if prefix is not None:
            program = end_of_program(line)
            line = f"{line[:program]} {prefix}{line[program:]}"
        return utf16z(line), split_shell_line(line)
    if prefix is None:
        return options, None
    rest = b"" if options is None or len(options) < 2 else " ".encode("utf-16-le") + options
    return prefix.encode("utf-16-le") + (rest or b"\0\0"), None


def profile_number(uki: Uki, profile: int | str) -> int:
    """A boot loader asks by number; ids are what people know (ID= in .profile)."""
    if isinstance(profile, int):
        return profile
    ids = {own.id: own.index for own in reversed(uki.profiles) if own.id}
    if profile not in ids:
        known = ", ".join(reversed(ids)) or "a number, since no profile of it has an id"
        raise StubsimError(f"no profile has the id {profile!r}", path=uki.path, expected=known)
    return ids[profile]
