"""What the terminal says of a hand-over, dialect by dialect, on the fixtures of the worked examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.worked_examples import EXAMPLES
from stubsim.result import Boot
from stubsim.views.block import Block
from stubsim.views.dialects import dialects_json, render_dialects
from stubsim.views.terminal_boot import blocks, headline
from stubsim.wording import plain
from tests.samples import fixtures_in


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixtures_in(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def booted(tree: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Boot:
    monkeypatch.chdir(tree)
    return EXAMPLES[request.param].run._replace(follow=True).boot()


def named(boot: Boot, start: str) -> Block:
    (found,) = (block for block in blocks(boot) if (block.title or "").startswith(start))
    return found


@pytest.mark.parametrize(("booted", "file"), [("qemu-v5", "opaque-blob"), ("spec", "opaque")], indirect=["booted"])
def test_the_opaque_page_is_shown(booted: Boot, file: str):
    rows = named(booted, f"{file}, for the next boot").rows
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (left.kind, f"{left.gpa:#010x}", str(left.size)) for left in booted.left
    ]


@pytest.mark.parametrize("booted", ["qemu-v5"], indirect=True)
def test_the_second_boot_takes_the_address_back(booted: Boot):
    assert booted.next is not None
    assert named(booted, "fw-blob").title == "fw-blob, for the hypervisor: the new firmware"
    after = named(booted.next, "fw-blob")
    assert after.title == "fw-blob, for the hypervisor: the address is taken back"
    assert after.rows == [("bios_size", "65536 (64.0 KiB)"), ("bios_paddr", "0x00000000")]


@pytest.mark.parametrize("booted", ["spec"], indirect=True)
def test_the_documents_size_and_address_are_shown(booted: Boot):
    rows = named(booted, "bios-addr, for the hypervisor").rows
    assert rows == [("bios-size", "65536 (64.0 KiB)"), ("bios-addr", f"{booted.left[0].gpa:#010x}")]


@pytest.mark.parametrize("booted", ["fuki-2024"], indirect=True)
def test_the_prototypes_entries_are_shown(booted: Boot):
    rows = named(booted, "vmfwupdate-blob, for the hypervisor").rows
    assert [row[0] for row in rows] == ["firmware", "kernel", "initrd", "cmdline"]
    assert [row[1] for row in rows] == ["private", "shared", "shared", "shared"]
    assert [(row[2], row[3]) for row in rows] == [(str(left.size), f"{left.gpa:#010x}") for left in booted.left]


@pytest.mark.parametrize("booted", ["qemu-v5", "spec", "fuki-2024"], indirect=True)
def test_what_is_for_the_next_boot_is_marked(booted: Boot):
    marked = [row[-1] for row in named(booted, "Memory").rows if row[-1].endswith(", next boot")]
    assert sorted(marked) == sorted(f"{plain(left.kind)}, next boot" for left in booted.left)


@pytest.mark.parametrize("booted", ["capsule"], indirect=True)
def test_a_loop_is_said_once(booted: Boot):
    if booted.next is not None:
        assert headline(booted.next).count("boot loop") <= 1


def test_a_file_of_one_byte_is_not_said_to_have_bytes():
    text = render_dialects(dialects_json())
    assert "etc/vmfwupdate/disable, 1 byte, rw" in text
