"""Random texts that systemd-boot reads: boot entries, loader.conf, os-release and .profile of a UKI."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.lab.drawing.values import Drawing

# Names of files without suffix and counter, and versions, whose order is a matter of taste.
STEMS = (
    "a", "b", "B", "foo-1.0", "foo-1.1", "foo-1.10", "foo_1.0", "foo 1.0", "auto-x", "Auto-y", ".hid", "ä", "x+y",
    "1~rc1", "1", "a.b", "z@1", "fedora-6.1.0-9", "fedora-6.1.0-10", "c(1)", "[x]", "arch", "arch-fallback",
)  # fmt: skip
COUNTERS = (
    "+3", "+0", "+1-2", "+0-3", "+", "+x", "+3-", "+2147483648", "+2147483647-1", "+3-2147483647", "+03-01", "+3+2",
)  # fmt: skip
VERSIONS = (
    "1", "2", "10", "1.2", "1.10", "1~rc1", "1^", "1-1", "1-10", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.12", "6.1.12",
    "a", "B", "b", "", "1_2", "1+2", "1..2", "-1", "~", "^1", "1.0", "1.00", "01", "00", "1a", "1b", "1.a",
    "99999999999999999999", "1ü", "1 2", "1-", "1.", "1.~", "1-~1", "1^1", "1.1^20", "1.01",
)  # fmt: skip
_PATTERNS = (
    "*", "foo*", "*.efi", "a.conf", "A.CONF", "?", "[a-f]*", "[!a]*", "foo-1.[01]*", "@saved", "@SAVED", "@x", "no",
    "*@1", "*-10*", "\\*", "[", "a[", "[a", "[]a]*", "[^a]*", "**a*", "", " ", "[a-]*", "[z-a]*", "arch*.conf",
)  # fmt: skip
_OS_RELEASE = (
    b"fedora", b'"Fedora 41"', b"'x'", b"41", b"6.1.0-10", b"6.1.0-9", b"", b'"', b'"a', b'a"', b"\xc3\xbc",
    b"\xff\xe4x", b"  lead", b"trail  ", b"a=b", b'"a\\"b"', b"$x", b"1~rc1", b"1^post", b"A", b"aB",
)  # fmt: skip
_PROFILES = (
    b"ID=a\n", b"ID=a\nTITLE=T\n", b"", b"TITLE=only\n", b"ID=\n", b"ID=A B\n", b'ID="q"\n', b"ID='q'", b"id=x\n",
    b"ID=\xc3\xbc\n", b"ID=b\nID=c\n", b"ID=main\r\n", b"ID=@1\n",
)  # fmt: skip


class Texts(Drawing):
    def os_release(self) -> bytes:
        lines = [
            self.one(b"", b"", b"", b" ", b"\t") + key + self.one(b"=", b"=", b"=", b"=", b"=", b" = ", b"==", b"= ")
            + self.one(*_OS_RELEASE)
            for key in (
                b"ID", b"VERSION_ID", b"IMAGE_ID", b"IMAGE_VERSION", b"NAME", b"VERSION", b"PRETTY_NAME", b"BUILD_ID",
                b"TITLE",
            )
            if self.maybe(0.4)
        ]  # fmt: skip
        if self.maybe(0.2):
            lines.append(self.one(b"# comment", b"", b"   ", b"junk", b"=x", b"ID", b"#ID=no", b";x=1"))
        self.random.shuffle(lines)
        if self.maybe(0.1):
            lines.insert(0, b"\xef\xbb\xbfID=bom")
        end = self.one(b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n")
        return end.join(lines) + self.one(b"\n", b"\n", b"", b"\0", b"\0\nID=x\n")

    def profile(self) -> bytes:
        return self.one(*_PROFILES)

    def entry(self, images: Sequence[str]) -> bytes:
        """A Type #1 entry for one of these images, mostly; paths of the partition with "/" between."""
        lines = [
            self._blanks(f"{key}{self.one(' ', ' ', ' ', chr(9), '  ', ' ' + chr(9) + ' ', '=')}{self.one(*values)}")
            for key, (often, values) in self._keys(images).items()
            for _ in range(1 if self.maybe(0.9) else 2)
            if self.maybe(often)
        ]
        self.random.shuffle(lines)
        if self.maybe(0.1):
            lines.insert(0, "# comment")
        if self.maybe(0.1):
            odd = self.one("title", "linux", "options", "", "", " ", "x" * 300, "initrd")
            lines.insert(self.random.randrange(len(lines) + 1), odd)
        end = self.one("\n", "\n", "\n", "\r\n", "\n\n", "\r")
        text = (end.join(lines) + self.one("\n", "\n", "", "\0", "\0x")).encode()
        if self.maybe(0.05):
            text = b"\xef\xbb\xbf" + text
        return text.replace(b"root", b"\xff\xe4t") if self.maybe(0.05) else text

    def _keys(self, images: Sequence[str]) -> dict[str, tuple[float, Sequence[str]]]:
        """By key, how often and with which values."""
        files = [f"/{path}" for path in images]
        written = [
            self.one(path, path.replace("/", "\\"), path.lstrip("/"), path.replace("/", "//"), path.upper())
            for path in files
        ]
        odd = ("/missing", "", '""', "/EFI/BOOT/BOOTX64.EFI", "/loader", ":x", "http://x/y")
        keys: dict[str, tuple[float, Sequence[str]]] = {
            "title": (0.7, ("X", "Ü", "", "A B", '"q"')),
            "version": (0.5, ("6.1.0-9", "6.1.0-10", "1~rc1", "", "2", '""')),
            "machine-id": (0.4, ("a" * 32, "b" * 32)),
            "sort-key": (0.5, ("fedora", "arch", "", "Fedora", '"fedora"', "''")),
            self.one("linux", "linux", "linux", "efi", "uki", "uki-url"): (0.95, (*written, "/vmlinuz", *odd)),
            "initrd": (0.35, ("/initrd.img", "/ucode.img", "/missing", "/empty.img", "initrd.img", "\\\\initrd.img",
                              "/loader", "/", "/INITRD.IMG", '""')),
            "options": (0.6, ("root=x", "quiet  splash", "", '"a"', "a=b # c", "@1", "\\n", "grüß", '""')),
            "devicetree": (0.08, ("/x.dtb", "/missing.dtb", '""')),
            "architecture": (0.15, ("x64", "X64", "aa64", "", "x86-64", "ia32")),
            "profile": (0.15, ("0", "1", "2", "x", "1x", "-1", "4294967296", "+1", "01", " 1")),
            "extra": (0.15, ("/c.cred", "/s.sysext.raw", "/missing.cred", "/x.raw", "/C.CRED", "c.confext.raw",
                             "/addon.efi", "/empty.cred", '""')),
            "grub_users": (0.05, ("x",)), "devicetree-overlay": (0.05, ("/x",)), "Title": (0.05, ("x",)),
            "#title": (0.1, ("c",)),
        }  # fmt: skip
        if files and self.maybe(0.05):
            # Behind the other image, which may then be one too many.
            keys[self.one("efi", "linux", "uki")] = (1, files)
        return keys

    def versioned_entry(self) -> bytes:
        """One whose place in the order is all that matters."""
        text = f"linux /vmlinuz\noptions o{self.random.randrange(99)}\n"
        if self.maybe(0.7):
            text += f"sort-key {self.one('a', 'b', 'A', 'ab', 'a ', 'ü', 'aa', 'Z')}\n"
        if self.maybe(0.5):
            text += f"machine-id {self.one('aaaa', 'bbbb', 'c')}\n"
        if self.maybe(0.7):
            text += f"version {self.one(*VERSIONS)}\n"
        return text.encode()

    def loader_conf(self, ids: Sequence[str]) -> bytes:
        patterns = (*ids, *_PATTERNS)
        keys: dict[str, tuple[float, Sequence[str]]] = {
            "default": (0.6, patterns),
            "preferred": (0.25, patterns),
            "timeout": (0.4, ("0", "3", "menu-hidden", "menu-force", "menu-disabled", "x", "", "0x1", "00",
                              "4294967295", "99999999999")),
            "auto-entries": (0.2, ("0", "no", "off", "yes", "NO", "maybe", "")),
            "auto-firmware": (0.3, ("0", "1", "no")),
            "auto-poweroff": (0.2, ("1", "yes")),
            "auto-reboot": (0.2, ("1", "true", "True")),
            "console-mode": (0.1, ("keep", "max", "0")),
            "editor": (0.1, ("no",)), "beep": (0.05, ("1",)), "log-level": (0.05, ("debug", "x")), "#x": (0.1, ("y",)),
            "random-seed-mode": (0.05, ("with-system-token",)),
            "secure-boot-enroll": (0.1, ("manual", "if-safe", "force")),
        }  # fmt: skip
        lines = [
            self.one("", "", " ") + key + self.one(" ", " ", "\t", "  ") + self.one(*values) + self.one("", "", " ")
            for key, (often, values) in keys.items()
            if self.maybe(often)
        ]
        self.random.shuffle(lines)
        return self.one("\n", "\n", "\r\n").join(lines).encode() + self.one(b"\n", b"\n", b"", b"\0")

    def _blanks(self, line: str) -> str:
        return self.one("", "", "", " ", "\t") + line + self.one("", "", "", " ", "\t")
