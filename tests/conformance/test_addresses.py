"""Where the inner kernel really went, in every recording that tells, and where the simulated one goes.

`python -m tests.conformance.test_addresses` prints the distance of each in pages, and how many are how close.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from stubsim.machine.ram import PAGE
from tests.conformance.comparisons import Recording
from tests.conformance.test_golden import recorded, simulated
from tests.conftest import recordings

RECORDINGS = recordings()
VIRT = recordings("golden-aa64")
pytestmark = pytest.mark.skipif(not RECORDINGS, reason="no recordings (STUBSIM_SHARED)")


def distance(folder: Path) -> int | None:
    """Pages from the simulated kernel up to the recorded one; None where no kernel was started or seen."""
    image = recorded(folder).expected["image"]
    kernels = [row["gpa"] for row in simulated(folder)["memory"] if row["name"] == "kernel"]
    if image is None or image["base"] is None or not kernels:
        return None
    pages, rest = divmod(image["base"] - kernels[0], PAGE)
    assert rest == 0
    return int(pages)


def distances(folders: list[Path] = RECORDINGS) -> dict[str, int]:
    return {folder.name: pages for folder in folders if (pages := distance(folder)) is not None}


def is_of_the_layout(recording: Recording) -> bool:
    """The firmware whose memory map is the layout's, with graphics; it started the UKI without a program before."""
    return (
        recording.expected["ovmf"] == "2022.11"
        and not recording.name.startswith(("launch-", "sdboot", "shell-"))
        and recording.host["console"]["graphics"]
    )


def test_the_kernel_lies_where_it_was_recorded():
    """To the byte with the firmware of the layout, but where the stub reads files: that keeps pages in use."""
    found = [distance(folder) for folder in RECORDINGS if is_of_the_layout(recorded(folder))]
    known = [abs(pages) for pages in found if pages is not None]
    assert sum(pages == 0 for pages in known) > 0.85 * len(known)
    assert max(known) < 128


def test_the_kernel_is_close_to_where_it_was_recorded():
    """A boot loader or the shell moves it by up to 358 pages, another build or the lab's launcher by up to 17 MiB."""
    found = distances()
    assert sum(pages == 0 for pages in found.values()) > 0.75 * len(found)
    assert sum(abs(pages) <= 8 for pages in found.values()) > 0.8 * len(found)
    assert max(map(abs, found.values())) * PAGE < 17 << 20


# What has run before the UKI there: the lab's launcher, systemd-boot or the shell.
BEFORE = ("launch-", "dtfixup-", "dtfw-launch-", "sdboot", "shell-")
# The firmware gives its GPU a framebuffer of another kind than ramfb's, and a host file does not tell them apart.
OTHER_GRAPHICS = {"console-virtio-gpu@262.1"}


@pytest.mark.skipif(not VIRT, reason="no recordings (STUBSIM_SHARED)")
def test_the_kernel_lies_where_it_was_recorded_on_virt():
    """To the byte with AAVMF 2022.11, whatever the RAM, where the firmware itself started the UKI."""
    started = [
        folder
        for folder in VIRT
        if recorded(folder).expected["ovmf"] == "AAVMF 2022.11" and not folder.name.startswith(BEFORE)
    ]
    found = distances(started)
    assert len(found) > 180
    assert {name for name, pages in found.items() if pages} == OTHER_GRAPHICS


@pytest.mark.skipif(not VIRT, reason="no recordings (STUBSIM_SHARED)")
def test_the_kernel_is_close_to_where_it_was_recorded_on_virt():
    """The launcher has allocated 16 MiB or twice that, the newer build was seen too seldom to be sure."""
    found = distances(VIRT)
    assert sum(pages == 0 for pages in found.values()) >= 217
    assert max(map(abs, found.values())) * PAGE <= 32 << 20


def main() -> None:
    found = distances([*RECORDINGS, *VIRT])
    for name, pages in sorted(found.items(), key=lambda row: (abs(row[1]), row)):
        print(f"{pages:6} {name}")
    counts = Counter(map(abs, found.values()))
    for bound in (0, 8, 32, 128, 1024):
        print(f"{sum(n for pages, n in counts.items() if pages <= bound)} of {len(found)} within {bound} pages")


if __name__ == "__main__":
    main()
