"""The chain as a picture: which stages there are, what they hand on and measure, and where it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubsim.formats.efi_string import utf16z
from stubsim.hosts import Host
from stubsim.hosts.host import DirectBoot
from stubsim.result import Boot
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.views.chain import chain_block, chain_json, heading, read, stages
from stubsim.views.html_chain import chain_figure
from tests.loader.test_run import HOST, esp_of, run
from tests.samples import linux
from tests.stub.harness import make_uki


def names(result: Boot) -> list[str]:
    return [stage.name for stage in stages(result)]


def test_firmware_loader_stub_and_kernel(tmp_path: Path):
    result = run(esp_of(tmp_path), entry="lab.efi@b")
    firmware, loader, stub, kernel = stages(result)
    assert [row.name for row in (firmware, loader, stub, kernel)] == [
        "firmware", "systemd-boot 257.13", "systemd-stub 262.1-1", "kernel",
    ]  # fmt: skip
    assert firmware.measures == ("PCR 4: 2 images",)
    assert loader.what == ("\\EFI\\BOOT\\BOOTX64.EFI", "entry lab.efi@b")
    assert loader.hands_on == ('load options "@1"',)
    assert loader.measures == ("PCR 5: 1 event", "PCR 12: 1 event")
    assert stub.what == ("\\EFI\\Linux\\lab.efi", "profile 1")
    assert stub.hands_on == ('command line "own"', "initrd, 768 bytes")


def test_without_a_loader_the_firmware_hands_on():
    result = boot(make_uki(), Host(), Start(load_options=utf16z("quiet"), stub="257"))
    assert names(result) == ["firmware", "systemd-stub 262.1-1", "kernel"]
    assert stages(result)[0].hands_on == ('load options "quiet"',)
    # The kernel, too, which 257 has the firmware load.
    assert stages(result)[0].measures == ("PCR 4: 2 images",)


def test_a_linux_by_its_name():
    result = boot(make_uki(linux=linux("6.12.1-lab")), Host(tpm=None), Start())
    assert names(result)[-1] == "Linux 6.12.1-lab"
    assert all(not stage.measures for stage in stages(result))


@pytest.mark.parametrize(
    ("host", "start", "last", "why"),
    [
        (Host(secure_boot=True), Start(), "firmware", "without a trusted signature"),
        (Host(), Start(profile=7), "systemd-stub 262.1-1", "per-profile"),
        (Host(architecture="aa64"), Start(), "firmware", "the machine is aa64"),
    ],
)
def test_where_it_ends(host: Host, start: Start, last: str, why: str):
    found = stages(boot(make_uki(), host, start))
    assert found[-1].name == last
    assert found[-1].what[-1].startswith("ends here: ")
    assert why in found[-1].what[-1]


def test_an_unsigned_image_ends_at_the_loader(tmp_path: Path):
    result = run(esp_of(tmp_path), HOST._replace(secure_boot=True))
    assert result.outcome.status == "failed"
    assert names(result)[-1] in ("firmware", "systemd-boot 257.13")


def test_qemus_kernel():
    result = boot(make_uki(), Host(direct_boot=DirectBoot("quiet")), Start())
    assert stages(result)[1].what == ("kernel",)


def test_the_block_and_the_figure_say_the_same(tmp_path: Path):
    result = run(esp_of(tmp_path), entry="lab.efi@b")
    block, figure = chain_block(result), chain_figure(stages(result))
    assert block.columns == ("", "firmware", "-> systemd-boot 257.13", "-> systemd-stub 262.1-1", "-> kernel")
    assert [row[0] for row in block.rows if row[0]] == ["is", "hands on", "measures"]
    shown = [node.text for node in figure.iter("dd")]
    assert sorted(filter(None, (cell for row in block.rows for cell in row[1:]))) == sorted(filter(None, shown))


def test_a_long_command_line_is_cut():
    result = boot(make_uki((".cmdline", b"x" * 5000)), Host(), Start())
    (line,) = (text for text in stages(result)[1].hands_on if text.startswith("command line"))
    assert line.endswith('..." (5000 characters)')
    assert len(line) < 100


def test_the_picture_as_data(tmp_path: Path):
    """What a report's text is made from says the same as the boot."""
    result = run(esp_of(tmp_path))
    assert read(chain_json(result)) == stages(result)
    assert heading(chain_json(result), " of A").startswith("The chain of A")
