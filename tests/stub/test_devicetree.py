"""Choosing and installing devicetrees; recordings dtb-*, dtbauto-*, launch-fwdtb-*."""

from __future__ import annotations

import pytest

from stubsim.chid import PRIORITY
from stubsim.formats import fdt, hwids
from stubsim.formats.pe import SectionSpec
from stubsim.formats.uefi_status import TEXTS
from stubsim.hosts import Host
from stubsim.hosts.host import DevicetreeFixup, Patch
from stubsim.machine.ram import PAGE
from stubsim.stub.devicetree import (
    Devicetree,
    install_addon_devicetrees,
    install_devicetrees,
    install_embedded_devicetree,
    match_dtb,
)
from stubsim.stub.measure import Measured
from stubsim.stub.sections import NamedAddon
from stubsim.trace import Staged, Unknown
from tests.stub.harness import CHIDS, FIELDS, Run, devicetree, make_uki, run, table

THIS = CHIDS[PRIORITY[3]]
TREE = (".hwids", table((hwids.DEVICETREE, THIS, "tree")))


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        (devicetree("tree"), "match"),
        (devicetree("other"), "other"),
        # chid-second-compat: only the first compatible counts.
        (fdt.build(["other", "tree"]), "other"),
        # dtbauto-propfirst: where it stands among the properties does not matter.
        (fdt.build(["tree"], [("model", b"x\0")], compatible_first=False), "match"),
        (fdt.build([], child_compatible=["tree"]), "bad"),
        (devicetree("tree")[:-1], "bad"),
        (b"\0" * 64, "bad"),
        (b"", "bad"),
    ],
)
def test_by_hwids(blob: bytes, expected: str):
    assert match_dtb(run().context, memoryview(blob), b"tree") == expected
    assert match_dtb(run().context, memoryview(blob), None) == "other"


@pytest.mark.parametrize("address", [1, 2, 3, 0x10002])
def test_a_tree_lies_at_a_multiple_of_4(address: int):
    """devicetree.c, devicetree_get_compatible; seen with the code of 262.1."""
    tree = memoryview(devicetree("tree"))
    assert match_dtb(run().context, tree, b"tree", address) == "bad"
    assert match_dtb(run().context, tree, b"tree", 0x10004) == "match"
    host = Host(fields=FIELDS, devicetree=devicetree("tree"))
    assert match_dtb(run(host=host).context, tree, b"tree", address) == "other"
    section = SectionSpec(".dtbauto", devicetree("tree"), virtual_address=0x20000 + address)
    one = run(make_uki(TREE, section))
    assert one.sections().section(".dtbauto") is None
    assert one.log() == ["Found bad DT blob in PE section 3"]


@pytest.mark.parametrize(
    ("firmware", "expected"),
    [
        (devicetree("tree"), "match"),
        (devicetree("other"), "other"),
        # launch-fwdtb-nocompat, -garbage: it blocks the .hwids look-up all the same.
        (fdt.build([]), "other"),
        (b"garbage", "other"),
    ],
)
def test_by_the_firmwares_tree(firmware: bytes, expected: str):
    context = run(host=Host(devicetree=firmware)).context
    assert match_dtb(context, memoryview(devicetree("tree")), b"tree") == expected
    # A bad blob goes unnamed then.
    assert match_dtb(context, memoryview(b"bad"), b"tree") == "other"


def test_a_firmwares_tree_that_the_host_file_has_not_whole():
    """262.1's own code in emulation, total size 0x28000067: a stub has the address, and no size but that."""
    whole = fdt.build(["tree"])
    blob = memoryview(devicetree("tree"))
    longer = bytearray(whole)
    fdt.set_total_size(longer, 0x28000067)
    one = run(host=Host(devicetree=bytes(longer)))
    assert match_dtb(one.context, blob, None) == "match"
    assert one.unknown() == []
    for size in (39, len(whole) - 20, len(whole) - 12):
        one = run(host=Host(devicetree=whole[:size]))
        assert match_dtb(one.context, blob, None) == "other"
        assert one.unknown() == ["the firmware's devicetree"]


def test_the_firmwares_tree_needs_no_hwids():
    one = run(make_uki((".dtbauto", devicetree("tree"))), Host(devicetree=devicetree("tree")))
    assert one.sections().section(".dtbauto") is not None


def test_bad_blobs_are_named_and_passed_over():
    """dtbauto-bad-first."""
    one = run(make_uki(TREE, (".dtbauto", b"bad"), (".dtbauto", devicetree("tree"))))
    data = one.sections().data(".dtbauto")
    assert data is not None
    assert bytes(data) == devicetree("tree")
    assert one.log() == ["Found bad DT blob in PE section 3"]


def test_a_devicetree_is_chosen_before_firmware_is_looked_up():
    """262.1's own code in emulation, at debug level."""
    one = run(make_uki(TREE, (".dtbauto", b"bad")), debug=True)
    one.sections()
    assert one.log() == ["Found bad DT blob in PE section 3", "No UEFI FW will be selected: Not found"]


def test_what_is_installed():
    """dtb-and-dtbauto, dtb-garbage: a plain .dtb is not checked at all."""
    tree, other = devicetree("tree"), devicetree("other")
    one = run(make_uki((".dtb", other), TREE, (".dtbauto", tree)), Host(fields=FIELDS))
    installed = install_embedded_devicetree(one.context, one.sections())
    assert installed is not None
    assert (installed.source, bytes(installed.data or b"")) == (".dtbauto", tree)
    one = run(make_uki((".dtb", b"garbage")))
    installed = install_embedded_devicetree(one.context, one.sections())
    assert installed is not None
    assert (installed.source, installed.data) == (".dtb", None)


def test_without_own_tree_the_firmwares_stays():
    """launch-fwdtb-nomatch, launch-fwdtb-plain; minimal: no table at all."""
    one = run(make_uki((".dtbauto", devicetree("x"))), Host(devicetree=devicetree("firmware")))
    installed = install_embedded_devicetree(one.context, one.sections())
    assert installed is not None
    assert installed.source == "firmware"
    one = run()
    assert install_embedded_devicetree(one.context, one.sections()) is None


def test_the_installed_size_is_the_trees_own():
    tree = devicetree("tree")
    one = run(make_uki((".dtb", tree + bytes(100))))
    installed = install_embedded_devicetree(one.context, one.sections())
    assert installed is not None
    assert bytes(installed.data or b"") == tree


CHANGED = Patch(28, b"\x11\x22\x33\x44")


def fixed_up(data: bytes, fixup: DevicetreeFixup) -> Run:
    return run(make_uki((".dtb", data)), Host(devicetree=devicetree("firmware"), devicetree_fixup=fixup))


def installed_by(one: Run, *addons: NamedAddon) -> tuple[Devicetree | None, Measured]:
    parameters = Measured()
    return install_devicetrees(one.context, one.sections(), list(addons), parameters), parameters


def test_the_firmware_changes_the_tree():
    """aa64: dtfixup-dtb-mode0, -auto-mode0."""
    tree = devicetree("tree")
    installed, _ = installed_by(fixed_up(tree, DevicetreeFixup(patches=(CHANGED,))))
    assert installed is not None
    assert installed.source == ".dtb"
    assert bytes(installed.data or b"") == tree[:28] + CHANGED.data + tree[32:]


def test_the_firmwares_own_tree_is_not_changed():
    host = Host(devicetree=devicetree("firmware"), devicetree_fixup=DevicetreeFixup(patches=(CHANGED,)))
    installed, _ = installed_by(run(host=host))
    assert installed is not None
    assert bytes(installed.data or b"") == devicetree("firmware")


def test_a_larger_buffer_is_given_once_when_it_is_asked_for():
    """The first one is free again, and the tree ends where the second one does."""
    one = fixed_up(devicetree("tree"), DevicetreeFixup(needs=PAGE + 1, fill_buffer=0))
    installed, _ = installed_by(one)
    assert installed is not None
    assert installed.data is not None
    assert len(installed.data) == 2 * PAGE == fdt.total_size(installed.data)
    (staged,) = (event for event in one.trace if isinstance(event, Staged))
    assert staged.size == 2 * PAGE
    assert one.context.memory.allocate(PAGE, staged.type) == staged.gpa + 2 * PAGE
    assert one.log() == []


@pytest.mark.parametrize("status", ["EFI_INVALID_PARAMETER", "EFI_BUFFER_TOO_SMALL"])
def test_a_failing_fixup_leaves_the_firmwares_tree(status: str):
    """aa64: dtfixup-dtb-mode2. A second EFI_BUFFER_TOO_SMALL is an error like others."""
    one = fixed_up(devicetree("tree"), DevicetreeFixup(error=status))
    installed, _ = installed_by(one)
    assert installed is not None
    assert installed.source == "firmware"
    assert one.log() == [f"Error loading embedded devicetree, ignoring: {TEXTS[status]}"]


def test_an_addons_tree_that_cannot_be_installed_is_not_measured():
    """aa64: dtfixup-addon-mode2."""
    addons = [NamedAddon(name, memoryview(devicetree(name))) for name in ("a.addon.efi", "b.addon.efi")]
    one = run(host=Host(devicetree_fixup=DevicetreeFixup(error="EFI_INVALID_PARAMETER")))
    installed, parameters = installed_by(one, *addons)
    assert installed is None
    assert one.log() == ["Error loading addon devicetree, ignoring: Invalid parameter"] * 2
    assert one.measured(12) == []
    assert parameters.all is None


def test_an_addons_tree_is_measured_as_it_was():
    """aa64: dtfixup-addon-mode0."""
    addon = NamedAddon("a.addon.efi", memoryview(devicetree("tree")))
    plain, changed = run(), run(host=Host(devicetree_fixup=DevicetreeFixup(patches=(CHANGED,))))
    for one in (plain, changed):
        installed_by(one, addon)
    assert changed.measured(12) == plain.measured(12) != []


def test_only_the_first_call_of_a_boot_asks_for_more():
    one = run(
        make_uki((".dtb", devicetree("tree"))),
        Host(devicetree_fixup=DevicetreeFixup(needs=2 * PAGE, first_call_only=True, fill_buffer=0)),
    )
    installed, _ = installed_by(one, NamedAddon("a.addon.efi", memoryview(devicetree("addon"))))
    assert installed is not None
    assert [event.size for event in one.trace if isinstance(event, Staged)] == [2 * PAGE, PAGE]


def test_what_an_unknown_fixup_makes_of_the_tree_is_unknown():
    one = fixed_up(devicetree("tree"), DevicetreeFixup())
    installed, _ = installed_by(one)
    assert installed == Devicetree(".dtb", 2, None, known=False)
    (unknown,) = (event for event in one.trace if isinstance(event, Unknown))
    assert {"devicetree", "log"} <= set(unknown.affects)
    assert "pcrs" not in unknown.affects
    assert unknown.pcrs == ()
    installed_by(one, NamedAddon("a.addon.efi", memoryview(devicetree("addon"))))
    assert {"measurements", "pcrs"} <= {
        key for event in one.trace if isinstance(event, Unknown) for key in event.affects
    }


def test_whether_an_addons_tree_is_installed_and_measured_is_unknown_then():
    one = run(host=Host(devicetree_fixup=DevicetreeFixup()))
    installed_by(one, NamedAddon("a.addon.efi", memoryview(devicetree("addon"))))
    assert [event.pcrs for event in one.trace if isinstance(event, Unknown)] == [(12,)]


def test_what_a_fixup_makes_of_a_tree_that_is_cut_off_is_unknown():
    whole = devicetree("lab,x")
    for data, known in ((whole, True), (whole[:-1], False), (whole[:30], False), (b"\0" * 60, True)):
        one = fixed_up(data, DevicetreeFixup(patches=(CHANGED,)))
        installed, _ = installed_by(one)
        assert installed is not None
        assert installed.known is known


def test_an_unknown_fixup_is_no_matter_without_a_tree_of_the_stubs():
    one = run(host=Host(devicetree=devicetree("firmware"), devicetree_fixup=DevicetreeFixup()))
    installed_by(one)
    assert one.unknown() == []


def test_no_memory_for_a_tree():
    one = run(make_uki(SectionSpec(".dtb", b"x", virtual_size=128 << 20)), Host(memory=64 << 20))
    installed, _ = installed_by(one)
    assert installed is None
    assert one.log() == ["Error loading embedded devicetree, ignoring: Out of resources"]


def test_every_tree_stays_allocated():
    """aa64: addon-dtb, dtb-garbage."""
    one = run(make_uki((".dtb", b"garbage")))
    installed_by(one, *(NamedAddon(name, memoryview(devicetree(name))) for name in ("a", "b")))
    assert len({event.gpa for event in one.trace if isinstance(event, Staged)}) == 3


def test_addons_replace_each_other_and_are_measured():
    one = run()
    trees = [NamedAddon(name, memoryview(devicetree(name))) for name in ("a.addon.efi", "b.addon.efi")]
    parameters = Measured()
    installed = install_addon_devicetrees(one.context, None, trees, parameters)
    assert installed is not None
    assert installed.source == "b.addon.efi"
    assert [(event.description, event.tag) for event in one.measured(12)] == [
        ("a.addon.efi", 0x6C46F751),
        ("b.addon.efi", 0x6C46F751),
    ]
    assert parameters.all is True


@pytest.mark.parametrize(
    ("stub", "said"),
    [("252", True), ("253.16", True), ("253.17", False), ("254.9", True), ("254.26", False), ("255.3", True),
     ("255.4", False), ("256.0", False)],
)  # fmt: skip
def test_some_stubs_say_that_there_is_no_fixup(stub: str, said: bool):
    """252.39's and 254.26's own code in emulation; the borders are of the tags (devicetree.c)."""
    one = run(make_uki((".dtb", devicetree("tree"))), Host(devicetree=devicetree("firmware")), stub=stub)
    install_embedded_devicetree(one.context, one.sections())
    assert one.log() == ["Could not locate device tree fixup protocol, skipping."] * said
