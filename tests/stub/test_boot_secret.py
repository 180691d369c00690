"""Random seed and boot secret of 262; recordings bootsecret-*, seed*, rng, launch-loaderfeatures."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from stubsim.hosts import Host
from stubsim.hosts.host import Variable
from stubsim.stub.boot_secret import derive, os_id, prepare_boot_secret, refresh_random_seed
from stubsim.trace import Log
from stubsim.uefi.loaded_image import ProgramFailed
from stubsim.uefi.variables import LOADER
from tests.stub.harness import Run, make_uki, run

SECRET, MIXIN = bytes(range(32)), bytes(range(100, 132))
SEED = "\\loader\\random-seed"


def variable(name: str, data: bytes, attributes: int = 3) -> Variable:
    return Variable(name, LOADER, attributes, data)


PRESET = variable("LoaderBootSecret", SECRET)


def put(esp: Path, name: str, data: bytes) -> None:
    (esp / "loader").mkdir(exist_ok=True)
    (esp / "loader" / name).write_bytes(data)


def secret(one: Run, *, seeded: bool = True) -> bytes | None:
    return prepare_boot_secret(one.context, one.sections(), seeded)


def test_derivation():
    """Confirmed on eleven recorded secrets; spelled out here from the label on."""
    expected = sha256(
        b"systemd-stub derive secret label v1" + SECRET + MIXIN + (3).to_bytes(8, "little") + b"lab"
    ).digest()
    assert derive(SECRET, MIXIN, b"lab") == expected


def test_variable_and_mixin_are_there(tmp_path: Path):
    """bootsecret-preset-*: nothing is written; of a longer mixin the first 32 bytes count."""
    put(tmp_path, "boot-secret-mixin", MIXIN + b"more")
    one = run(make_uki((".osrel", b"ID=lab\n")), Host(variables=(PRESET,)), esp=tmp_path)
    assert secret(one) == derive(SECRET, MIXIN, b"lab")
    assert one.trace == []


def test_first_boot(tmp_path: Path):
    """rng: both are made, and what they are cannot be told."""
    one = run(esp=tmp_path)
    assert secret(one) == b""
    made = one.variables()["LoaderBootSecret"]
    assert (made.attributes, made.data) == (3, None)
    assert one.written() == {"\\loader\\boot-secret-mixin": 32}
    assert one.unknown() == ["the boot secret"]


def test_an_empty_mixin_is_filled(tmp_path: Path):
    """Public source (boot-secret.c): the stub creates the file and fills it when its size is 0."""
    put(tmp_path, "boot-secret-mixin", b"")
    one = run(host=Host(variables=(PRESET,)), esp=tmp_path)
    assert secret(one) == b""
    assert one.written() == {"\\loader\\boot-secret-mixin": 32}


def test_the_host_file_may_know_the_secret(tmp_path: Path):
    one = run(host=Host(boot_secret=MIXIN), esp=tmp_path)
    assert secret(one) == MIXIN
    assert one.unknown() == []


@pytest.mark.parametrize(
    ("preset", "mixin"),
    [
        # bootsecret-size31, -attr7-rng, -shortmixin.
        (variable("LoaderBootSecret", SECRET[:31]), MIXIN),
        (variable("LoaderBootSecret", SECRET + b"x"), MIXIN),
        (variable("LoaderBootSecret", SECRET, 7), MIXIN),
        (variable("LoaderBootSecret", SECRET, 6), MIXIN),
        (PRESET, MIXIN[:31]),
        (PRESET, b"x"),
    ],
)
def test_no_secret(tmp_path: Path, preset: Variable, mixin: bytes):
    put(tmp_path, "boot-secret-mixin", mixin)
    one = run(host=Host(variables=(preset,)), esp=tmp_path)
    assert secret(one) is None
    assert one.trace == []


@pytest.mark.parametrize(
    ("preset", "mixin", "message"),
    [
        (variable("LoaderBootSecret", SECRET[:31]), MIXIN, "Unexpected size of BootSecret EFI variable, ignoring."),
        (
            variable("LoaderBootSecret", SECRET, 7),
            MIXIN,
            "Unexpected attributes of BootSecret EFI variable, ignoring.",
        ),
        (PRESET, MIXIN[:31], "Boot secret mixin file '\\loader\\boot-secret-mixin' is too short 31 < 32"),
    ],
)
def test_why_there_is_no_secret_is_told_at_debug_level(tmp_path: Path, preset: Variable, mixin: bytes, message: str):
    """systemd 261: boot-secret.c."""
    put(tmp_path, "boot-secret-mixin", mixin)
    one = run(host=Host(variables=(preset,)), esp=tmp_path, debug=True)
    assert secret(one) is None
    assert one.log() == [message]


@pytest.mark.parametrize(
    ("stub", "rng", "folder", "logged"),
    [
        # Of a generator, what cannot be created for want of a folder is an error in 261.1 alone.
        ("261.0", True, False, []),
        ("261.1", True, False, ["error"]),
        ("261.0", False, True, []),
        ("261.1", False, True, ["debug"]),
        ("261.2", False, True, ["debug"]),
        ("260", False, True, []),
    ],
)
def test_a_missing_seed(tmp_path: Path, stub: str, rng: bool, folder: bool, logged: list[str]):
    """systemd 261.1: random-seed.c, process_random_seed; 261 and 261.1 make no folder."""
    if folder:
        (tmp_path / "loader").mkdir()
    token = variable("LoaderSystemToken", bytes(32))
    host = RNG._replace(rng=rng, variables=(token,))
    one = run(host=host, esp=tmp_path, stub=stub, debug=True)
    assert not refresh_random_seed(one.context)
    told = [(event.level, event.message) for event in one.trace if isinstance(event, Log)]
    assert told == [(level, "Failed to open random seed file: Not found") for level in logged]


def test_no_seed_no_secret(tmp_path: Path):
    """bootsecret-preset: even if variable and mixin exist."""
    put(tmp_path, "boot-secret-mixin", MIXIN)
    one = run(host=Host(variables=(PRESET,)), esp=tmp_path)
    assert secret(one, seeded=False) is None
    assert one.trace == []


@pytest.mark.parametrize(("stub", "from_memory"), [("257", False), ("262", True)])
def test_where_there_is_none_at_all(stub: str, from_memory: bool):
    one = run(stub=stub, from_memory=from_memory)
    assert secret(one) is None
    assert one.trace == []


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        # bootsecret-imageid, -imageid-quoted.
        (b"ID=lab\nIMAGE_ID=image\n", b"image"),
        (b'IMAGE_ID="image"\nID=lab', b"image"),
        (b"ID='lab'", b"lab"),
        (b" \tID=lab\t\r\n", b"lab"),
        (b"", b"linux"),
        (b"NAME=x\n", b"linux"),
        (b"#ID=lab\n", b"linux"),
        # As line_get_key_value() of the public source reads them: first IMAGE_ID, last ID, the key as it stands.
        (b"IMAGE_ID=a\nIMAGE_ID=b\n", b"a"),
        (b"ID=a\nID=b\n", b"b"),
        (b"ID =a\n", b"linux"),
        (b"ID= a\n", b" a"),
        (b"ID==a\n", b"a"),
        (b'ID="a\n', b'"a'),
        (b"ID=a\0\nID=b\n", b"a"),
        # An empty one is one.
        (b"ID=\n", b""),
        (b'IMAGE_ID=""\nID=b\n', b""),
    ],
)
def test_which_system(release: bytes, expected: bytes):
    assert os_id(release, oversteps=False) == expected


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (b"ID=\nNAME=x\n", b"NAME=x\n"),
        (b"ID=\r\nNAME=x", b"\nNAME=x"),
        (b"IMAGE_ID=\nID=b", b"ID=b"),
        (b"ID=a\nID=\n", b""),
        (b"ID= \nNAME=x\n", b""),
        (b"ID=\0NAME=x\n", b"NAME=x\n"),
        (b"ID=\0", b""),
        (b'ID=""\nNAME=x\n', b""),
        (b"ID==\nNAME=x\n", b""),
        # Behind the text nobody knows; but of another key it does not matter.
        (b"NAME=x\nID=", None),
        (b"\tIMAGE_ID=", None),
        (b"ID=a\nNAME=", b"a"),
        (b"IMAGE_ID=a\nID=", b"a"),
        (b"IMAGE_ID=a\nIMAGE_ID=", b"a"),
    ],
)
def test_an_empty_id_is_what_follows_it(release: bytes, expected: bytes | None):
    """261 and 261.1: line_get_key_value() steps over the NUL; the code of 261.1 in emulation."""
    assert os_id(release, oversteps=True) == expected


@pytest.mark.parametrize(
    ("stub", "identity"), [("261.0", b"NAME=x\n"), ("261.1", b"NAME=x\n"), ("261.2", b""), ("262.1", b"")]
)
def test_an_empty_id_in_the_secret(tmp_path: Path, stub: str, identity: bytes):
    put(tmp_path, "boot-secret-mixin", MIXIN)
    one = run(make_uki((".osrel", b"ID=\nNAME=x\n")), Host(variables=(PRESET,)), esp=tmp_path, stub=stub)
    assert secret(one) == derive(SECRET, MIXIN, identity)


def test_an_id_that_is_in_memory_alone(tmp_path: Path):
    put(tmp_path, "boot-secret-mixin", MIXIN)
    one = run(make_uki((".osrel", b"ID=")), Host(variables=(PRESET,)), esp=tmp_path, stub="261.1")
    assert secret(one) == b""
    assert one.unknown() == ["the boot secret"]


def test_the_selected_profiles_system_counts():
    one = run(make_uki((".osrel", b"ID=base"), (".profile", b"x"), (".osrel", b"ID=own")))
    assert os_id(one.sections().text(".osrel") or b"", oversteps=False) == b"own"


TOKEN = variable("LoaderSystemToken", b"x" * 32, 7)
FEATURES = variable("LoaderFeatures", (1 << 6).to_bytes(8, "little"), 6)
PARTITIONED = Host(esp_partition_uuid=UUID("5eed0e5b-1ab0-4000-8000-0000000000e5"))
RNG, WITH_TOKEN = PARTITIONED._replace(rng=True), PARTITIONED._replace(variables=(TOKEN,))


@pytest.mark.parametrize(
    ("host", "file", "seeded", "written"),
    [
        (PARTITIONED, None, False, ({}, {})),
        # seed: a file alone is not enough.
        (PARTITIONED, 64, False, ({}, {})),
        # seed-rng-token: 257 only updates an existing file.
        (WITH_TOKEN, 64, True, ({SEED: 64}, {SEED: 64})),
        (WITH_TOKEN, None, False, ({}, {})),
        (RNG, 512, True, ({SEED: 512}, {SEED: 512})),
        # As random-seed.c of the public source has it from here on. A token counts from 32 bytes up.
        (PARTITIONED._replace(variables=(TOKEN._replace(data=b"x" * 31),)), 64, False, ({}, {})),
        # The partition is not trusted alone under Secure Boot.
        (WITH_TOKEN._replace(secure_boot=True), 64, False, ({}, {})),
        (RNG._replace(secure_boot=True), 64, True, ({SEED: 64}, {SEED: 64})),
        (RNG, 32 * 1024, True, ({SEED: 32 * 1024}, {SEED: 32 * 1024})),
    ],
)
def test_seed(tmp_path: Path, host: Host, file: int | None, seeded: bool, written: tuple[dict[str, int], ...]):
    if file is not None:
        put(tmp_path, "random-seed", bytes(file))
    for stub, changes in zip(("257", "262"), written, strict=True):
        one = run(host=host, esp=tmp_path, stub=stub)
        assert refresh_random_seed(one.context) is seeded
        assert one.written() == changes
        assert one.log() == []


def test_a_machine_with_a_generator_and_no_seed_file():
    """rng: 262 creates it."""
    old, new = run(host=RNG, stub="257"), run(host=RNG)
    assert (refresh_random_seed(old.context), refresh_random_seed(new.context)) == (False, True)
    assert (old.written(), new.written()) == ({}, {SEED: 32})


@pytest.mark.parametrize("size", [0, 31])
def test_a_seed_file_that_is_too_short(tmp_path: Path, size: int):
    """Public source: 257 complains, 262 takes it as one just created."""
    put(tmp_path, "random-seed", bytes(size))
    old, new = run(host=RNG, esp=tmp_path, stub="257"), run(host=WITH_TOKEN, esp=tmp_path)
    assert (refresh_random_seed(old.context), refresh_random_seed(new.context)) == (False, True)
    assert (old.written(), new.written()) == ({}, {SEED: 32})
    assert (old.log(), new.log()) == (["Random seed file is too short."], [])
    # It is not even looked at where there is no entropy.
    one = run(host=PARTITIONED, esp=tmp_path, stub="257")
    assert not refresh_random_seed(one.context)
    assert one.trace == []


def test_a_seed_file_that_is_too_large(tmp_path: Path):
    put(tmp_path, "random-seed", bytes(32 * 1024 + 1))
    one = run(host=RNG, esp=tmp_path)
    assert not refresh_random_seed(one.context)
    assert one.log() == ["Random seed file is too large."]
    assert one.written() == {}


def test_a_boot_loader_that_does_it():
    """launch-loaderfeatures: LoaderFeatures with the random seed bit; the loader's own seed counts, if it made one."""
    for host, seeded in ((RNG, True), (PARTITIONED, False)):
        one = run(host=host._replace(variables=(FEATURES,)))
        assert refresh_random_seed(one.context) is seeded
        assert one.trace == []
    for other in (b"\x40", (0xFFBF).to_bytes(8, "little")):
        one = run(host=RNG._replace(variables=(variable("LoaderFeatures", other, 6),)))
        assert refresh_random_seed(one.context)
        assert one.written() == {SEED: 32}


def test_no_partition_no_seed():
    assert not refresh_random_seed(run(host=RNG, from_memory=True).context)


@pytest.mark.parametrize("stub", ["257", "262"])
def test_no_seed_on_a_disk_without_partitions(tmp_path: Path, stub: str):
    """Booted systemd-stub 257.13 and 262.1 in QEMU with virtio-rng, the whole disk one file system."""
    put(tmp_path, "random-seed", bytes(40))
    host = RNG._replace(esp_partition_uuid=None)
    one = run(host=host, esp=tmp_path, stub=stub, debug=True)
    assert not refresh_random_seed(one.context)
    assert one.written() == {}
    assert one.log() == (["No hard drive device path node found."] if stub == "262" else [])
    # As in the public source, which asks the boot loader first.
    one = run(host=host._replace(variables=(FEATURES,)), esp=tmp_path, stub=stub, debug=True)
    assert not refresh_random_seed(one.context)
    assert one.log() == []


@pytest.mark.parametrize("stub", ["252", "253", "254", "255", "257", "262"])
def test_without_a_device_some_stubs_halt(stub: str):
    """254.26's own code in emulation; 253 by its source. A boot loader that handles the seed keeps them from asking."""
    one = run(stub=stub, from_memory=True)
    if stub not in ("253", "254"):
        assert not refresh_random_seed(one.context)
        return
    with pytest.raises(ProgramFailed) as failure:
        refresh_random_seed(one.context)
    words = "systemd-boot: Assertion" if stub == "254" else "systemd-boot assertion"
    assert (failure.value.message, failure.value.status) == (f"{words} 'device' failed", None)
    features = Variable("LoaderFeatures", LOADER, 6, (1 << 6).to_bytes(8, "little"))
    assert not refresh_random_seed(run(host=Host(variables=(features,)), stub=stub, from_memory=True).context)
