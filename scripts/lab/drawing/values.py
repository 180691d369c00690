"""What every part of a random boot is drawn with."""

from __future__ import annotations

import base64
from random import Random
from typing import Any, TypeVar

from stubsim.formats import fdt

Json = dict[str, Any]
T = TypeVar("T")


class Drawing:
    """Nothing but the random numbers decides what it gives; ``machine`` is x64 or aa64."""

    def __init__(self, random: Random, machine: str) -> None:
        self.random = random
        # What a fix-up makes of a tree that is cut short depends on what lies behind it.
        self.damages_trees = True
        self.machine = machine

    def maybe(self, probability: float) -> bool:
        return self.random.random() < probability

    def one(self, *values: T) -> T:
        return self.random.choice(values)

    def line(self) -> bytes:
        words = (
            b"quiet", b"root=LABEL=x", b"console=tty0", b"fooconsole=x", b"console=", b'"console=q"', "grüß".encode(),
            "日本".encode(), b"\xe4\xf6 y", b"\xff", b"\xc0\xaf", "\U0001f600".encode(), b"\xed\xa0\x80", b"a\tb",
            b"a\nb", b"\x7f", b"\x01", b"@1", b"a  b", b"-", b"\xc3", b"\xe2\x82", b"\xf8\x88\x80\x80\x80",
        )  # fmt: skip
        if self.maybe(0.02):
            return b"long=%d " % self.random.randrange(10) * self.one(50, 600)
        line = b" ".join(self.one(*words) for _ in range(self.random.choice((0, 1, 1, 2, 3))))
        return self._around(line, b" ", b"  ", b"\n", b"\0", b"\t", b"\0junk")

    def _around(self, text: bytes, *more: bytes) -> bytes:
        before = self.one(*more) if self.maybe(0.15) else b""
        behind = self.one(*more) if self.maybe(0.3) else b""
        return before + text + behind

    def tree(self) -> bytes:
        name = self.one("lab,a", "lab,b", "lab,c", "lab,A", "")
        tree = fdt.build([name] if self.maybe(0.7) else [name, self.one("lab,a", "x")])
        return self.damaged(tree, 0.1 if self.damages_trees else 0)

    def damaged(self, data: bytes, probability: float) -> bytes:
        if not self.maybe(probability):
            return data
        changed = bytearray(data)
        for _ in range(self.random.randint(1, 3)):
            changed[self.random.randrange(min(len(changed), 64))] = self.one(0, 1, 0x28, 0x7F, 0xFF)
        return bytes(changed) if self.maybe(0.7) else data[: self.random.randrange(len(data))]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
