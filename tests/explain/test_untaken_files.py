"""Files of the partition that the stub passes over, and the rule that it does so by."""

from __future__ import annotations

from pathlib import Path

import pytest

from stubsim import uki
from stubsim.explain.untaken_files import untaken_files
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.start import Start
from tests.samples import FULL_UKI

FILES = {
    "EFI/Linux/foo.efi.extra.d/a.cred": "the folder of another UKI; this one's is foo_1.efi.extra.d",
    "EFI/Linux/foo_1.efi.extra.d/cmdline.efi": "only *.addon.efi, *.cred, *.raw are taken here",
    "EFI/Linux/foo_1.efi.extra.d/.hidden.cred": "its name begins with a dot",
    "EFI/Linux/foo_1.efi.extra.d/größe.cred": "its name is not ASCII",
    "EFI/Linux/foo_1.efi.extra.d/more/b.cred": "a folder, and only files are taken here",
    "EFI/Linux/b.cred": "beside the UKI nothing is taken; it belongs in foo_1.efi.extra.d",
    "loader/addons/b.cred": "only *.addon.efi are taken here",
    "loader/credentials/a.raw": "only *.cred are taken here",
    "loader/extensions/a.img": "only *.raw are taken here",
}
TAKEN = (
    "EFI/Linux/foo_1.efi.extra.d/A.CRED", "EFI/Linux/foo_1.efi.extra.d/x.confext.raw", "loader/credentials/a.cred",
)  # fmt: skip
SHOWN = {"EFI/Linux/foo.efi.extra.d/a.cred": "EFI/Linux/foo.efi.extra.d"} | {
    "EFI/Linux/foo_1.efi.extra.d/more/b.cred": "EFI/Linux/foo_1.efi.extra.d/more"
}


@pytest.fixture
def esp(tmp_path: Path) -> Path:
    for name in (*FILES, *TAKEN, "EFI/Linux/other.efi", "loader/extensions/a.raw"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "EFI/Linux/foo_1+3-0.efi").write_bytes(FULL_UKI)
    return tmp_path


def told(esp: Path, stub: str) -> dict[str, str]:
    image = uki.load(str(esp / "EFI/Linux/foo_1+3-0.efi"))
    start = Start(esp=str(esp), stub=stub)
    rows = untaken_files(boot(image, Host(), start), start)
    return {row.path.strip("\\").replace("\\", "/"): row.why for row in rows}


def test_each_is_named_with_its_rule(esp: Path):
    assert told(esp, "262") == {SHOWN.get(path, path): why for path, why in FILES.items()}


def test_an_older_stub_takes_no_global_extensions(esp: Path):
    rows = told(esp, "257")
    assert rows.pop("loader/extensions/a.raw") == "stubs 252 to 257 take no extensions from here"
    assert rows == told(esp, "262")


def test_without_a_tree_there_is_nothing(esp: Path):
    image = uki.load(str(esp / "EFI/Linux/foo_1+3-0.efi"))
    for start in (Start(), Start(from_memory=True)):
        assert untaken_files(boot(image, Host(), start), start) == ()
