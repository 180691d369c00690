"""One boot entry, as systemd-boot keeps it (boot.c, BootEntry)."""

from __future__ import annotations

from stubsim.loader.releases import LoaderModel
from stubsim.rows import NamedTuple
from stubsim.systemd.strings import lower, parse_number

# Kinds of entry by the key that names the image; those of \EFI\Linux and the firmware's own are no Type #1.
LINUX, EFI, UKI, UKI_URL, TYPE2, AUTO, ACTION = "linux", "efi", "uki", "uki-url", "type2", "auto", "action"
ESP, XBOOTLDR = "esp", "xbootldr"

_INT_MAX = 0x7FFFFFFF


class Tries(NamedTuple):
    """Boot counting by the name of a file: what is left, what was tried, and the name before and after one more."""

    left: int
    done: int
    directory: str
    current: str
    next: str


class Entry(NamedTuple):
    """``id`` is what LoaderEntry* variables and patterns name; ``loader`` the image's path on its ``partition``.

    ``file`` is the path of the entry itself: the .conf file, or the image. ``options_implied``: they are the image's
    own and not passed on. ``open_ended``: the section of the image whose last value is what lies behind it in memory.
    """

    id: str
    kind: str
    file: str | None
    loader: str | None
    partition: str = ESP
    id_without_profile: str | None = None
    title: str | None = None
    version: str | None = None
    machine_id: str | None = None
    sort_key: str | None = None
    options: str | None = None
    options_implied: bool = False
    profile: int = 0
    profile_id: str | None = None
    initrds: tuple[str, ...] = ()
    devicetree: str | None = None
    extras: tuple[str, ...] = ()
    url: str | None = None
    tries: Tries | None = None
    open_ended: str | None = None

    @property
    def may_be_selected(self) -> bool:
        """Whether it can be the default that no pattern names."""
        return self.kind not in (AUTO, ACTION)


class Hidden(NamedTuple):
    """A file that looks like an entry and is none, and why."""

    file: str
    partition: str
    why: str


class Fatal(NamedTuple):
    """A file at which systemd-boot halts, so that there is no entry at all, and why."""

    file: str
    partition: str
    why: str


def is_auto(file: str, model: LoaderModel) -> bool:
    """Whether the name is one of those that systemd-boot keeps for entries of its own."""
    return (lower(file) if model.folds_auto_prefix else file).startswith("auto-")


def parse_tries(directory: str, file: str, suffix: str, *, folds: bool) -> tuple[str, Tries] | None:
    """The id without the counter and the counter of a name like ``lab+3-1.efi``; None without one.

    The last + counts, and what follows it must be the whole rest of the name (systemd-boot, boot_entry_parse_tries),
    in any case if it ``folds``.
    """
    name, plus, rest = file.rpartition("+")
    left, rest = parse_number(rest) if plus else (None, rest)
    if left is None or left > _INT_MAX:
        return None
    done, rest = parse_number(rest[1:]) if rest.startswith("-") else (0, rest)
    if done is None or done > _INT_MAX or (lower(rest) if folds else rest) != suffix:
        return None
    after = f"{name}+{max(left - 1, 0)}-{min(done + 1, _INT_MAX)}{suffix}"
    return name + suffix, Tries(left, done, directory, file, after)
