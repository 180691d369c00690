"""What people found on their own machines, made again from scratch (cases/people of the shared folder)."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from scripts import build_fixtures
from stubsim.formats import pe
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host, recognise
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Measured
from stubsim.uki import Uki
from stubsim.views.json import boot_json
from tests import samples

PATH = "\\EFI\\BOOT\\BOOTX64.EFI"
EXTRA = b"io.systemd.stub.kernel-cmdline-extra=smb.extra=1"


def test_rtmr_2_by_release(shared: Path):
    """From 261 on tagged events, here a profile's, reach the registers of a TDX guest, too."""
    case = shared / "cases/people/tdx-tagged-events"
    host = recognise.load(str(case / "tdx.json"))
    values = json.loads((case / "expected.json").read_text())["rtmr2"]
    uki = Uki(pe.open_bytes(build_fixtures.profiles(), "profiles.efi"))
    for stub, value in values.items():
        # Behind the stub the kernel measures; the register is as the stub leaves it.
        told = boot_json(boot(uki, host, Start(stub=stub, profile=1)))
        assert told["rtmrs"] == {"2": value}, stub
        assert any("rtmrs" in row["affects"] for row in told["unknown"])


@pytest.mark.parametrize(("series", "stub"), [("252", "252.39"), ("254", "254.26")])
def test_stubs_of_debian_12_and_rhel_9(series: str, stub: str, shared: Path, tmp_path: Path):
    told = json.loads((shared / "cases/people/stubs-252-and-254/expected.json").read_text())
    expected = told[series]
    folder = "EFI/BOOT/BOOTX64.EFI.extra.d"
    addon = pe.build([SectionSpec(".sbat", b"sbat,1"), SectionSpec(".cmdline", b"addon=1")])
    files = {f"{folder}/c.cred": b"c", f"{folder}/s.raw": b"s", f"{folder}/f.confext.raw": b"f"}
    files |= {"loader/addons/a.addon.efi": addon, "loader/credentials/g.cred": b"g"}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    image = samples.uki(
        SectionSpec(".uname", b"6.12"),
        SectionSpec(".sbat", b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"),
        stub=f"systemd-stub {stub}",
    )
    host = Host(oem_strings=(EXTRA,), esp_partition_uuid=UUID(int=1))
    result = boot(Uki(pe.open_bytes(image, "uki.efi")), host, Start(esp=str(tmp_path), path=PATH))

    assert result.prepared is not None
    assert result.prepared.cmdline == expected["cmdline"].replace("quiet retain_initrd v=1", "quiet")
    events = [event for event in result.trace if isinstance(event, Measured)]
    assert [event.description for event in events if event.pcr == 11][::2] == expected["pcr11_sections"]
    assert {str(pcr): [event.pcr for event in events].count(pcr) for pcr in (11, 12, 13)} == expected["events"]
    initrd = b"".join(bytes(part) for part in result.prepared.initrd.parts)
    for name in expected["extra"]:
        assert name.encode() in initrd
    assert b"os-release" not in initrd
    names = {variable.name for variable in result.variables}
    assert names >= set(told["variables"]["there"])
    assert not names & set(told["variables"]["not_there"])
