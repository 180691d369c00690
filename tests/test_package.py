"""The wheel: what a user gets with ``pip install stubsim``."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import stubsim

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"stubsim-{stubsim.__version__}.dist-info/METADATA"))


def test_the_wheel_is_the_package_and_its_metadata(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"stubsim", f"stubsim-{stubsim.__version__}.dist-info"}


def test_the_wheel_has_every_module_and_schema(wheel: zipfile.ZipFile):
    expected = {
        str(path.relative_to(ROOT)) for path in (ROOT / "stubsim").rglob("*") if path.suffix in (".py", ".json")
    }
    assert any(name.startswith("stubsim/schemas/") for name in expected)
    assert expected <= set(wheel.namelist())


def test_the_wheel_has_nothing_of_the_tests(wheel: zipfile.ZipFile):
    suspicious = re.compile(r"(^|/)(tests?|conftest.*|test_.*|fixtures|scripts|.*\.efi|__pycache__)(/|$)")
    assert [name for name in wheel.namelist() if suspicious.search(name)] == []


def test_the_wheel_is_typed_as_its_classifier_says(wheel: zipfile.ZipFile, metadata: Message):
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "stubsim/py.typed" in wheel.namelist()


def test_the_licence_comes_along(wheel: zipfile.ZipFile):
    (name,) = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert b"MIT License" in wheel.read(name)


def test_three_runtime_dependencies_and_no_more(metadata: Message):
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split(r"[^\w-]", line)[0] for line in required) == ["pefile", "pyelftools", "rich"]


def test_one_version_everywhere(metadata: Message):
    assert metadata["Version"] == stubsim.__version__
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == stubsim.__version__
    command = [sys.executable, "-m", "stubsim", "--version"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.split() == ["stubsim", stubsim.__version__]


def test_the_entry_point_is_the_module_that_python_m_runs(wheel: zipfile.ZipFile):
    entry = wheel.read(f"stubsim-{stubsim.__version__}.dist-info/entry_points.txt").decode()
    assert "stubsim = stubsim.__main__:main" in entry
    assert "stubsim/__main__.py" in wheel.namelist()
