"""\\loader\\loader.conf, as far as it decides on entries (systemd-boot: config_defaults_load_from_file)."""

from __future__ import annotations

from stubsim.formats.efi_string import decode_utf8
from stubsim.rows import NamedTuple
from stubsim.systemd.key_value import key_values
from stubsim.systemd.strings import lower, parse_number

_TRUE = frozenset({b"1", b"yes", b"y", b"true", b"t", b"on"})
_FALSE = frozenset({b"0", b"no", b"n", b"false", b"f", b"off"})
_SWITCHES = frozenset({b"auto-entries", b"auto-firmware", b"auto-poweroff", b"auto-reboot"})
# Keys that decide on the menu and on what is drawn, not on what is started.
_OTHER = frozenset(
    {
        b"editor", b"beep", b"reboot-for-bitlocker", b"reboot-on-error", b"secure-boot-enroll",
        b"secure-boot-enroll-action", b"secure-boot-enroll-timeout-sec", b"console-mode", b"log-level",
    }
)  # fmt: skip
SAVED = "@saved"
# Words for `timeout` -> whether there is a menu.
_MENUS = {"menu-force": True, "menu-hidden": False, "menu-disabled": False}


class Config(NamedTuple):
    """``default`` and ``preferred`` are patterns in lower case; ``ignored`` the lines that have no effect, and why.

    ``menu`` tells whether the timeout leads to one.
    """

    default: str | None = None
    preferred: str | None = None
    auto_entries: bool = True
    auto_firmware: bool = True
    auto_poweroff: bool = False
    auto_reboot: bool = False
    menu: bool = False
    ignored: tuple[str, ...] = ()


def parse(
    content: bytes | memoryview, *, takes_preferred: bool = True, quotes: bytes = b"\"'", runs_on: bool = False
) -> Config:
    """Read the file; never raises. Of a key that is there twice the last one counts."""
    switches: dict[bytes, bool] = {}
    patterns: dict[bytes, str] = {}
    ignored: list[str] = []
    menu = False
    for key, value in key_values(content, b" \t", quotes=quotes, runs_on=runs_on):
        name, text = decode_utf8(key), decode_utf8(value)
        if key in _SWITCHES:
            if value in _TRUE | _FALSE:
                switches[key] = value in _TRUE
            else:
                ignored.append(f"{name} {text}: not a boolean")
        elif key == b"default" or (key == b"preferred" and takes_preferred):
            if text.startswith("@") and lower(text) != SAVED:
                ignored.append(f"{name} {text}: no such special entry")
            else:
                patterns[key] = lower(text)
        elif key == b"timeout":
            shown = shows_menu(text)
            if shown is None:
                ignored.append(f"{name} {text}: neither a number of seconds nor menu-force, -hidden or -disabled")
            else:
                menu = shown
        elif key not in _OTHER:
            ignored.append(f"{name}: no such key")
    on, default = switches.get, Config()
    return Config(
        default=patterns.get(b"default"),
        preferred=patterns.get(b"preferred"),
        auto_entries=on(b"auto-entries", default.auto_entries),
        auto_firmware=on(b"auto-firmware", default.auto_firmware),
        auto_poweroff=on(b"auto-poweroff", default.auto_poweroff),
        auto_reboot=on(b"auto-reboot", default.auto_reboot),
        menu=menu,
        ignored=tuple(ignored),
    )


def shows_menu(timeout: str) -> bool | None:
    """Whether a timeout, of loader.conf or of LoaderConfigTimeout, leads to a menu; None: it is none."""
    number, _ = parse_number(timeout)
    return _MENUS.get(timeout, None if number is None else number > 0)
