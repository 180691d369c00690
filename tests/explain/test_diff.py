"""What `diff` calls different is what differs between two boots, and nothing else."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.explain.diff import ORDER, PARTS, Diff, _words, diff
from stubsim.explain.diff_selection import shared_types
from stubsim.formats import edid, hwids, pe
from stubsim.formats.efi_string import utf16z
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Console, Host
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Measured
from stubsim.uki import Uki
from tests import samples
from tests.explain.test_why import DT, FW, HOST, OTHER, OWN, made
from tests.samples import devicetree, firmware

TPM = HOST._replace(tpm=("sha256",))


def compared(
    images: tuple[Uki, Uki] | Uki,
    hosts: tuple[Host, Host] | Host = TPM,
    a: dict[str, Any] | None = None,
    b: dict[str, Any] | None = None,
) -> Diff:
    first, second = images if isinstance(images, tuple) else (images, images)
    ours, theirs = (hosts, hosts) if isinstance(hosts, Host) else hosts
    starts = Start(**(a or {})), Start(**(b or a or {}))
    return diff((boot(first, ours, starts[0]), boot(second, theirs, starts[1])), starts)


def image(*more: SectionSpec, **options: Any) -> Uki:
    return Uki(pe.open_bytes(samples.uki(*more, **options), "uki.efi"))


PLAIN = image()
CHOICE = made([(DT, OWN[3], "a"), (FW, OWN[9], "fw")], devicetree("a"), devicetree("b"), firmware("fw"))


def test_the_parts_have_an_order():
    assert set(ORDER) == {*PARTS, "selection", "cmdline", "measurements"}
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("built", [PLAIN, CHOICE])
def test_a_boot_is_equal_to_itself(built: Uki):
    found = compared(built)
    assert found.differing == ()
    assert not any(found.changes.values())
    assert found.open == tuple(dict.fromkeys(found.open))


@pytest.mark.parametrize(
    ("built", "hosts", "a", "b", "differing"),
    [
        ((PLAIN, image(SectionSpec(".splash", b"BM"))), TPM, {}, {}, ("sections", "measurements", "memory")),
        (
            (PLAIN, image(linux=b"no kernel")),
            TPM,
            {},
            {},
            ("outcome", "sections", "measurements", "messages", "memory"),
        ),
        (PLAIN, TPM, {"load_options": utf16z("a")}, {"load_options": utf16z("b")}, ("cmdline", "measurements")),
        (PLAIN, (TPM, TPM._replace(console=Console(serial=(0x3F8,)))), {}, {}, ("cmdline",)),
        (PLAIN, (TPM, TPM._replace(keyboard_layout="de")), {}, {}, ("variables",)),
        (PLAIN, (TPM, TPM._replace(unknown=frozenset({"rng"}))), {}, {}, ("unknown",)),
        (CHOICE, (TPM, TPM._replace(edid=b"")), {}, {}, ()),
        (PLAIN, (HOST, TPM), {}, {}, ("measurements", "variables", "unknown")),
    ],
)  # fmt: skip
def test_what_differs(built: Any, hosts: Any, a: dict[str, Any], b: dict[str, Any], differing: tuple[str, ...]):
    found = compared(built, hosts, a, b)
    assert set(found.differing) <= set(differing), found.changes
    assert set(found.differing) >= set(differing) - {"memory"}


def test_the_other_machine_and_why():
    other = TPM._replace(fields=TPM.fields._replace(product_sku=b"SKU-2"))
    found = compared(CHOICE, (TPM, other))
    trees, firmwares = found.selections
    assert not trees.same
    assert trees.causes == ("A finds entry 0 by CHID type 3; B has product SKU 'SKU-2' instead of 'SKU'",)
    assert firmwares.same
    assert firmwares.causes == ()
    assert shared_types(found.a, found.b) == (8, 10, 5, 9, 11)
    assert {change.name for change in found.changes["sections"]} == {".dtbauto"}
    (register,) = found.registers
    assert (register.pcr, register.what) == (11, "A measures .dtbauto where B measures .hwids")


def test_the_other_stub_and_why():
    found = compared(CHOICE, TPM, {"stub": "257"}, {"stub": "262"})
    trees, firmwares = found.selections
    (cause,) = trees.causes
    assert cause.startswith("B finds entry 0 by CHID type 3; in A the whole table is refused: .hwids (section 5)")
    assert firmwares.causes == ("B finds entry 1 by CHID type 9; in A stub 257.13 knows no entries of this kind",)
    panel = made([(DT, OWN[15], "a")], devicetree("a"))
    host = TPM._replace(edid=edid.build("ABC12ef"))
    found = compared(panel, host, {"stub": "258"}, {"stub": "257"})
    assert found.selections[0].causes == (
        "A finds entry 0 by CHID type 15; stub 257.13 of B does not look up that type",
    )


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([(DT, OTHER, "a")], "A finds entry 0 by CHID type 3; the .hwids of B has no such entry"),
        (
            [(DT, OWN[4], "b"), (DT, OWN[3], "b"), (DT, OWN[3], "a")],
            "A finds entry 0 by CHID type 3; B finds entry 1 first, by CHID type 3",
        ),
    ],
)
def test_the_other_table_and_why(rows: list[Any], cause: str):
    images = (made([(DT, OWN[3], "a")], devicetree("a"), devicetree("b")), made(rows, devicetree("a"), devicetree("b")))
    assert compared(images).selections[0].causes[0] == cause


def test_no_table_at_all():
    images = (made([(DT, OWN[3], "a")], devicetree("a")), image(devicetree("a")))
    assert compared(images).selections[0].causes == (
        "A finds entry 0 by CHID type 3; B has no .hwids that its stub reads",
    )


def test_the_same_choice_from_another_place_is_the_same():
    table = hwids.build([(FW, OWN[9], "n", "fw"), (DT, OWN[7], "n", "a")])
    images = (CHOICE, image(devicetree("a"), firmware("fw"), SectionSpec(".hwids", table)))
    assert all(row.same for row in compared(images).selections)


def test_an_initrd_of_unknown_content_is_open():
    """A boot secret that is drawn from something nobody knows has no digest on either side."""
    host = TPM._replace(rng=True)
    found = compared(PLAIN, host)
    assert found.differing == ()
    assert found.open


def test_parts_of_the_initrd():
    found = compared((PLAIN, image(SectionSpec(".ucode", b"microcode"))))
    changes = {change.name: change for change in found.changes["initrd"]}
    assert set(changes) == {"whole", "ucode"}
    assert changes["ucode"].a is None
    assert changes["ucode"].b == {"size": 9, "sha256": sha256(b"microcode").hexdigest()}


def test_registers_are_compared_in_the_banks_of_both():
    hosts = (TPM._replace(tpm=("sha1", "sha256")), TPM._replace(tpm=("sha256", "sha384")))
    assert compared(PLAIN, hosts).registers == ()
    (register,) = compared((PLAIN, image(SectionSpec(".uname", b"6.1"))), hosts).registers
    assert list(register.values) == ["sha256"]
    assert register.what == "only B measures .uname"
    assert register.a is None
    assert isinstance(register.b, Measured)


def test_a_tdx_guest_without_a_tpm():
    host = HOST._replace(confidential="tdx")
    found = compared((PLAIN, image(SectionSpec(".uname", b"6.1"))), host)
    (register,) = found.registers
    assert (register.pcr, register.what, register.values) == (11, "only B measures .uname", {})
    assert [change.name for change in found.changes["rtmrs"]] == ["RTMR 2"]
    assert compared(CHOICE, host).differing == ()
    (content,) = compared((image(SectionSpec(".uname", b"6.1")), image(SectionSpec(".uname", b"6.2"))), host).registers
    assert content.what == "different content of .uname"


def test_a_profile_is_called_one():
    built = image(SectionSpec(".profile", b"ID=a\n"), SectionSpec(".profile", b"ID=b\n"))
    registers = {row.pcr: row for row in compared(built, TPM, {"profile": 0}, {"profile": 1}).registers}
    assert registers[12].what == "only B measures profile 1"
    assert registers[11].what == "different content of .profile"


WORDS = st.lists(st.sampled_from(["a", "b", "c", "", "root=x"]), min_size=1, max_size=12)


@given(WORDS, WORDS)
def test_a_word_diff_holds_both_lines(a: list[str], b: list[str]):
    runs = list(_words(a, b))
    for without, line in (("added", a), ("removed", b)):
        assert " ".join(run.text for run in runs if run.change != without) == " ".join(line)
    if a == b:
        assert [run.change for run in runs] == ["equal"]


def test_a_word_diff_of_senseless_lines_ends():
    a, b = [f"a{number}" for number in range(20_000)], [f"b{number}" for number in range(20_000)]
    runs = list(_words(["x", *a, "y"], ["x", *b, "y"]))
    assert [run.change for run in runs] == ["equal", "removed", "added", "equal"]


def test_none_and_an_empty_command_line_differ():
    sections = [
        SectionSpec(".sdmagic", b"#### LoaderInfo: systemd-stub 257.13 ####\0"),
        SectionSpec(".linux", samples.KERNEL),
    ]
    none, blank = (
        Uki(pe.open_bytes(pe.build([*sections, *more]), "uki.efi")) for more in ([], [SectionSpec(".cmdline", b" ")])
    )
    found = compared((none, blank)).cmdline
    assert found is not None
    assert (found.a, found.b, [run.change for run in found.words]) == (None, "", ["equal"])
