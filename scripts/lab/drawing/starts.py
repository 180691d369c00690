"""Random starts: the UKI's path, what it is told, and what else lies on its partition."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.lab.drawing.values import Drawing
from scripts.lab.images import CERTIFICATE
from scripts.lab.recipes import MACHINES, Files
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec


class Start(Drawing):
    def __init__(self, random: Random, machine: str, addon: Callable[[], list[SectionSpec]]) -> None:
        super().__init__(random, machine)
        self._addon = addon

    def path(self) -> str:
        usual = f"\\EFI\\BOOT\\BOOT{self.machine.upper()}.EFI"
        if self.maybe(0.6):
            return usual
        return self.one(
            "\\EFI\\Linux\\lab+3-1.efi", "\\EFI\\Linux\\lab+3.efi", "\\EFI\\Linux\\lab.efi", "\\uki.efi", "\\a\\b\\uki",
            "\\EFI\\Linux\\lab+.efi", "\\EFI\\Linux\\lab+3-.efi", "\\EFI\\Linux\\lab+x.efi", "\\EFI\\Linux\\a+3+2.efi",
            "\\EFI\\Linux\\x y.efi", "\\EFI\\Linux\\lab+3-1.EFI", "\\EFI\\Linux\\lab+0-3.efi", "\\EFI\\Linux\\+3.efi",
            "\\EFI\\Linux\\lab+3-1.efi.efi", "\\EFI\\a+3-1\\lab.efi", "\\EFI\\Linux\\lab+12-345.efi", "\\ü+1.efi",
            "\\EFI\\Linux\\lab+3-1-2.efi", "\\EFI\\Linux\\lab.efi+3", "\\.efi",
        )  # fmt: skip

    def load_options(self) -> bytes:
        words = (
            "quiet", "@0", "@1", "@2", "@3", "@5", "@9", "@10", "@4294967295", "@4294967296", "@01", "@1x", "@",
            "@ 1", "root=x",
            "console=ttyS1", "a\tb", "\tfirst", "x\x7fy", "ü", "\ud800", "a  b", " lead", "x" * 300, "\x1f", "@0x1",
            "日本", "@99999999999999999999",
        )  # fmt: skip
        text = " ".join(self.one(*words) for _ in range(self.random.choice((0, 1, 1, 2, 3))))
        raw = text.encode("utf-16-le", "surrogatepass")
        if self.maybe(0.7):
            raw += b"\0\0"
        if self.maybe(0.1):
            raw += self.one(b"x", b"j\0u\0n\0k\0", b"\t\0", b"\0", b"\x01\0\0\0")
        return raw

    def shell_line(self) -> str:
        words = ("@1", "@0", "foo", '"a  b"', "x=1", "@1x", 'a^"b', "console=x", "ü", "  ", "@2")
        return " ".join(["uki.efi", *(self.one(*words) for _ in range(self.random.randint(0, 4)))])

    def files(self, path: str) -> Files:
        files: Files = {}
        own = path.strip("\\").replace("\\", "/")
        extra = self.one(own, self._without_counter(own)) + ".extra.d/"
        folders = {
            extra: (0.5, (".cred", ".raw", ".confext.raw", ".addon.efi")),
            "loader/addons/": (0.25, (".addon.efi",)),
            "loader/credentials/": (0.25, (".cred",)),
            "loader/extensions/": (0.25, (".raw", ".confext.raw", ".sysext.raw")),
        }
        for folder, (probability, suffixes) in folders.items():
            if not self.maybe(probability):
                continue
            if self.maybe(0.1):
                files[folder] = b""
            for _ in range(self.random.randint(0, 4) if self.maybe(0.95) else 12):
                suffix = self.one(*suffixes)
                name = folder + self._stem() + (suffix.upper() if self.maybe(0.1) else suffix)
                # FAT knows no case, and a folder of the host does.
                if any(name.casefold() == other.casefold().rstrip("/") for other in files):
                    continue
                if self.maybe(0.03):
                    files[name + "/"] = b""
                elif suffix == ".addon.efi":
                    files[name] = tuple(self._addon()) if self.maybe(0.9) else self._other_addon()
                else:
                    files[name] = b"\x43" * self.one(0, 1, 3, 4, 13, 200, 5000)
        if self.maybe(0.3):
            files["loader/random-seed"] = b"\x44" * self.one(0, 16, 31, 32, 64, 512, 33000)
        if self.maybe(0.15):
            files["loader/boot-secret-mixin"] = b"\x45" * self.one(0, 16, 32, 40)
        if self.maybe(0.2):
            files["loader/"] = b""
        return files

    def _other_addon(self) -> bytes:
        """One that firmware may not load: no image, one of another machine, or without a signature."""
        if self.maybe(0.3):
            return self.one(b"", b"MZ", bytes(700), self.random.randbytes(200))
        image = pe.build(
            self._addon(),
            machine=self.one(*MACHINES.values(), 0x14C, 0, 0x1C2),
            certificates=self.one(b"", CERTIFICATE),
        )
        return image if self.maybe(0.8) else image[: self.random.randrange(len(image))]

    @staticmethod
    def _without_counter(path: str) -> str:
        stem, plus, _ = path.rpartition("+")
        return f"{stem}.efi" if plus else path

    def _stem(self) -> str:
        return self.one(
            "a", "b", "a-", "A0", "10", "9", "_x", "Z", "a1", ".hidden", "ä", "x y", "foo.bar", "n" * 230, "+3",
            "~t", "a.confext", "a.sysext", "1.2", "1.10", "1~rc", "1^", "aB", "", "a.raw", "a.cred", "$", "{x}", "a'b",
        )  # fmt: skip
