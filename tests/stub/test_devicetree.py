"""Choosing and installing devicetrees; recordings dtb-*, dtbauto-*, launch-fwdtb-*."""

from __future__ import annotations

import pytest

from stubsim.chid import PRIORITY
from stubsim.formats import fdt, hwids
from stubsim.hosts import Host
from stubsim.stub.addons import NamedAddon
from stubsim.stub.devicetree import install_addon_devicetrees, install_embedded_devicetree, match_dtb
from stubsim.stub.measure import Measured
from tests.stub.harness import CHIDS, FIELDS, devicetree, make_uki, run, table

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
