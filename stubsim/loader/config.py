"""\\loader\\loader.conf, as far as it decides on entries (systemd-boot: config_defaults_load_from_file)."""

from __future__ import annotations

from stubsim.formats.efi_string import decode_utf8
from stubsim.loader.releases import LoaderModel
from stubsim.rows import NamedTuple
from stubsim.systemd.key_value import key_values
from stubsim.systemd.strings import UINT_MAX, lower, parse_number

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
# Timeouts with a word for them: without a menu, unless a key is pressed or no entry is selected; with one that stays;
# without one in any case.
HIDDEN, FORCED, DISABLED = 0, UINT_MAX, UINT_MAX + 1
_WORDS = {"menu-hidden": HIDDEN, "menu-force": FORCED, "menu-disabled": DISABLED}


class Config(NamedTuple):
    """``default`` and ``preferred`` are patterns in lower case; ``ignored`` the lines that have no effect, and why.

    ``timeout`` is in seconds, or one of those with a word.
    """

    default: str | None = None
    preferred: str | None = None
    auto_entries: bool = True
    auto_firmware: bool = True
    auto_poweroff: bool = False
    auto_reboot: bool = False
    timeout: int = HIDDEN
    ignored: tuple[str, ...] = ()
    # Of 252: off, with-system-token, always.
    random_seed_mode: str = "with-system-token"


def parse(content: bytes | memoryview, model: LoaderModel) -> Config:
    """Read the file; never raises. Of a key that is there twice the last one counts."""
    switches: dict[bytes, bool] = {}
    patterns: dict[bytes, str] = {}
    ignored: list[str] = []
    timeout, seed_mode = HIDDEN, Config().random_seed_mode
    for key, value in key_values(content, b" \t", quotes=model.quotes, runs_on=model.runs_on_behind_blanks):
        name, text = decode_utf8(key), decode_utf8(value)
        if key in _SWITCHES:
            if value in _TRUE | _FALSE:
                switches[key] = value in _TRUE
            else:
                ignored.append(f"{name} {text}: not a boolean")
        elif key == b"default" or (key == b"preferred" and model.prefers_entry):
            if text.startswith("@") and lower(text) != SAVED:
                ignored.append(f"{name} {text}: no such special entry")
            else:
                patterns[key] = lower(text)
        elif key == b"timeout":
            seconds = timeout_of(text, model)
            if seconds is None:
                ignored.append(f"{name} {text}: neither a number of seconds nor menu-force, -hidden or -disabled")
            else:
                timeout = seconds
        elif key == b"random-seed-mode" and model.renews_seed_by_variable:
            found = _seed_mode(bytes(value))
            if found is None:
                ignored.append(f"{name} {text}: neither off, with-system-token nor always")
            else:
                seed_mode = found
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
        timeout=timeout,
        random_seed_mode=seed_mode,
        ignored=tuple(ignored),
    )


def _seed_mode(value: bytes) -> str | None:
    if value in _TRUE | _FALSE:
        return "always" if value in _TRUE else "off"
    return value.decode() if value in (b"off", b"with-system-token", b"always") else None


def timeout_of(text: str, model: LoaderModel) -> int | None:
    """A timeout as loader.conf, a variable and SMBIOS have it; None for anything else."""
    if text in _WORDS and (model.knows_menu_disabled or text != "menu-disabled"):
        return _WORDS[text]
    number, tail = parse_number(text)
    return None if number is None or tail or number > UINT_MAX else number
