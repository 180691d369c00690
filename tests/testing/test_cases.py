"""Case files: what they say is what is read, and every mistake is one line that names file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stubsim import schemas
from stubsim.errors import StubsimError
from stubsim.named_files import NamedFiles
from stubsim.testing import cases, expectations
from tests.strategies import mutated

CASE = Draft202012Validator(schemas.load("case"))
Write = Callable[..., Path]
EXPECT = 'expect.cmdline = "quiet"\n'


def refused(path: Path, *texts: str) -> str:
    with pytest.raises(StubsimError) as caught:
        cases.load(str(path))
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    for text in texts:
        assert text in line
    return line


def test_a_file_is_a_case(case_file: Write, folder: Path):
    (case,) = cases.load(str(case_file(EXPECT, "dir.with.dots.boot.toml")))
    assert (case.name, case.place, case.accept_unknown) == ("dir.with.dots", "", ())
    assert case.uki == str(folder / "uki.efi")
    assert case.hosts == (cases.Machine("hosts/known.json", str(folder / "hosts/known.json")),)
    assert case.expect == {"cmdline": "quiet"}


def test_several_cases_share_what_stands_above(case_file: Write):
    path = case_file(
        """
        options = {stub = "257", cmdline = "a"}
        expect = {model = "257", selection = {efifw = "fw", dtbauto = "none"}}
        [[case]]
        name = "one"
        [[case]]
        name = "two"
        host = ["hosts/other.json"]
        options = {shell = "x.efi b", profile = 1}
        expect = {cmdline = "b", selection.efifw = "none"}
        """
    )
    one, two = cases.load(str(path))
    assert (one.name, one.place, two.place) == ("one", "case[0]", "case[1]")
    assert one.options == {"stub": "257", "cmdline": "a"}
    # The load options can be given in one way only, so another one takes the place of that above.
    assert two.options == {"stub": "257", "shell": "x.efi b", "profile": 1}
    assert one.expect["selection"] == {"efifw": "fw", "dtbauto": "none"}
    assert two.expect == {"model": "257", "selection": {"efifw": "none", "dtbauto": "none"}, "cmdline": "b"}
    assert [machine.label for machine in two.hosts] == ["hosts/other.json"]


def test_hosts_by_pattern_come_in_order_and_once(case_file: Write):
    (case,) = cases.load(str(case_file(EXPECT, host='["hosts/o*.json", "hosts/*.json"]')))
    assert [machine.label for machine in case.hosts] == ["hosts/other.json", "hosts/known.json"]
    (case,) = cases.load(str(case_file(EXPECT, host='"**/*n.json"')))
    assert [machine.label for machine in case.hosts] == ["hosts/known.json"]


def test_a_name_with_the_letters_of_a_pattern_is_a_name_where_it_is_there(case_file: Write, folder: Path):
    (folder / "hosts" / "a[1].json").write_text("{}")
    (case,) = cases.load(str(case_file(EXPECT, host='"hosts/a[1].json"')))
    assert [machine.label for machine in case.hosts] == ["hosts/a[1].json"]


def test_paths_of_options_are_from_the_file(case_file: Write, folder: Path):
    (case,) = cases.load(
        str(
            case_file('options = {esp = "esp", load_options = "/abs", db = ["db.pem"], path = "EFI/x.efi"}\n' + EXPECT)
        ),
        allow_outside=True,
    )
    assert case.options["esp"] == str(folder / "esp")
    assert case.options["load_options"] == "/abs"
    assert case.options["db"] == [str(folder / "db.pem")]
    assert case.options["path"] == "EFI/x.efi"


WRONG = {
    "not UTF-8": (b"\xff", "offset 0x0", "UTF-8"),
    "no TOML": (b'uki = "a"\nhost = \n', "line 2, column 8", "TOML"),
    "cut": (b"[case", "end of document"),
    "a key twice": (b"uki = 'a'\nuki = 'b'\n", "line 2"),
    "deep": (b"x = " + b"[" * 100_000, "nested too deeply"),
    "long number": (b"x = " + b"1" * 5000, "too long"),
    "empty": (b"", "uki"),
    "no host": (b"uki = 'uki.efi'\nexpect.cmdline = 'x'", "host: missing"),
    "another schema": (b"schema = 'stubsim/case/2'", "schema", "stubsim/case/1"),
    "unknown key": (b"ukii = 'a'", "ukii: unknown key", "did you mean uki?"),
    "key of a table": (b"stub = '257'", "stub: unknown key", "did you mean options.stub?"),
    "strange key": (b"'\\u001b[2J' = 1", "unknown key"),
}
WRONG_TEXT = {
    "no expectation": ("", "expect: missing"),
    "empty expectation": ("expect = {}", "expect: an object", "cmdline"),
    "expect is a text": ("expect = 'x'", "expect", "a table"),
    "options is a list": ("options = []\n" + EXPECT, "options", "a table"),
    "unknown option": ("options.profil = 1\n" + EXPECT, "options.profil: unknown key", "did you mean profile?"),
    "profile": ("options.profile = -1\n" + EXPECT, "options.profile: -1", "4294967295"),
    "profile is a list": ("options.profile = ['main']\n" + EXPECT, "options.profile"),
    "from_memory": ("options.from_memory = 1\n" + EXPECT, "options.from_memory: 1", "true or false"),
    "db": ("options.db = 'x.pem'\n" + EXPECT, "options.db", "an array"),
    "certificate": ("options.db = [1]\n" + EXPECT, "options.db[0]"),
    "two ways": ("options = {cmdline = 'a', shell = 'b'}\n" + EXPECT, "options: cmdline and shell", "one of them"),
    "NUL": ('options.path = "a\\u0000"\n' + EXPECT, "options.path", "NUL"),
    "unknown expectation": ("expect.cmdlin = 'x'", "expect.cmdlin: unknown key", "did you mean cmdline?"),
    "unknown below": ("expect.selection.efifw.fwidd = 'x'", "expect.selection.efifw.fwidd", "did you mean fwid?"),
    "status": ("expect.outcome = 'booted'", "expect.outcome: 'booted'", "kernel-started"),
    "no status": ("expect.outcome = 'none'", "expect.outcome: 'none'"),
    "status below": ("expect.outcome.status = 'ok'", "expect.outcome.status"),
    "PCR 4": ("expect.pcrs.sha256.4 = '00'", "expect.pcrs.sha256: PCR 4", "11, 12 or 13", "stubsim measure"),
    "bank": ("expect.pcrs.sha224.11 = '00'", "expect.pcrs.sha224: unknown key", "did you mean sha"),
    "upper case": ("expect.pcrs.sha256.11 = 'AB'", "expect.pcrs.sha256.11", "lower-case"),
    "short digest": ("expect.initrd.sha256 = 'ab'", "expect.initrd.sha256", "64"),
    "negative size": ("expect.initrd.size = -1", "expect.initrd.size: -1"),
    "size is true": ("expect.initrd.size = true", "expect.initrd.size: true"),
    "date": ("expect.cmdline = 2026-01-01", "expect.cmdline", "a string"),
    "parts": ("expect.initrd.parts = 'initrd'", "expect.initrd.parts", "a list"),
    "part": ("expect.initrd.parts = ['a', {knd = 'x'}]", "expect.initrd.parts[1].knd", "kind"),
    "log": ("expect.log = 'x'", "expect.log", "a list of strings"),
    "initrd is a text": ("expect.initrd = 'x'", "expect.initrd: 'x'", "a table of size, sha256, parts"),
    "accepted": ("accept_unknown = ['cmdlin']\n" + EXPECT, "accept_unknown[0]", "did you mean cmdline?"),
    "no case": ("case = []", "case", "at least one"),
    "case is a table": ("case = {name = 'a'}", "case", "an array"),
    "case is a number": ("case = [1]", "case[0]", "a table"),
    "case without name": (EXPECT + "[[case]]\n", "case[0].name"),
    "empty name": (EXPECT + "[[case]]\nname = ''", "case[0].name"),
    "same names": (EXPECT + "[[case]]\nname = 'a'\n[[case]]\nname = 'a'", "case[1].name: 'a'", "each name once"),
    "name above": ("name = 'x'\n" + EXPECT + "[[case]]\nname = 'a'", "name: 'x'"),
    "case in a case": (EXPECT + "[[case]]\nname = 'a'\ncase = []", "case[0].case: unknown key"),
    "unknown key of a case": (EXPECT + "[[case]]\nname = 'a'\nexpct.x = 1", "case[0].expct", "did you mean expect?"),
    "above and overridden": ("expect.cmdline = 1\n[[case]]\nname = 'a'\n" + EXPECT, "expect.cmdline: 1"),
}
WRONG_HOSTS = {
    "nothing matches": ('"hosts/*.jsn"', "host: 'hosts/*.jsn'", "a pattern that a file matches"),
    "nothing matches in a list": ('["hosts/known.json", "no/*"]', "host[1]: 'no/*'"),
    "an empty list": ("[]", "host: an array"),
    "a number": ("1", "host: 1"),
    "a number in a list": ("[1]", "host[0]: 1"),
    "an empty text": ('""', "host: ''"),
    "NUL": ('"\\u0000"', "host"),
    "a directory by pattern": ('"host[s]"', "host"),
}


@pytest.mark.parametrize(("data", "texts"), [(data, texts) for data, *texts in WRONG.values()], ids=list(WRONG))
def test_a_wrong_file(folder: Path, data: bytes, texts: list[str]):
    (folder / "a.boot.toml").write_bytes(data)
    refused(folder / "a.boot.toml", *texts)


@pytest.mark.parametrize(("text", "texts"), [(t, more) for t, *more in WRONG_TEXT.values()], ids=list(WRONG_TEXT))
def test_a_wrong_key(case_file: Write, text: str, texts: list[str]):
    refused(case_file(text), *texts)


@pytest.mark.parametrize(("host", "texts"), [(h, more) for h, *more in WRONG_HOSTS.values()], ids=list(WRONG_HOSTS))
def test_a_wrong_host(case_file: Write, host: str, texts: list[str]):
    refused(case_file(EXPECT, host=host), *texts)


def test_no_file_at_all(folder: Path):
    refused(folder / "no.boot.toml", "No such file")
    refused(folder / "hosts", "is a folder")


def test_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cases, "MAXIMUM_SIZE", 1 << 20)
    (folder / "a.boot.toml").write_bytes(b"#" * ((1 << 20) + 1))
    refused(folder / "a.boot.toml", "too large", "1 MiB")


def test_find(folder: Path):
    for name in ("b.boot.toml", "sub/a.boot.toml", "sub/x.toml", ".venv/c.boot.toml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    inside = (str(folder / "b.boot.toml"), str(folder / "sub/a.boot.toml"))
    assert cases.find([str(folder)]) == inside
    # A file that is named may be called anything, and nothing counts twice.
    other = str(folder / "sub/x.toml")
    assert cases.find([other, inside[1], str(folder)]) == (other, inside[1], inside[0])
    with pytest.raises(StubsimError, match=r"hosts: no case file in it \(expected files named \*\.boot\.toml\)"):
        cases.find([str(folder / "hosts")])


FULL = b"""\xef\xbb\xbfschema = "stubsim/case/1"
uki = "u"
host = ["h", "i"]
accept_unknown = ["pcrs"]
[options]
esp = "e"
profile = 1
db = []
[expect]
outcome = {status = "failed", message = "none"}
pcrs = {sha256 = {11 = "00"}, sha1 = "none"}
selection = {efifw = {fwid = "a", section = 3, payload.kind = "ovmf"}, dtbauto = "none"}
initrd = {size = 1, parts = ["initrd", {name = "x"}]}
variables = {StubInfo = "a", X.data = "00ff", Y = "none"}
hwids.matches.uefi-fw = {chid_type = 3}
log = ["a"]
[[case]]
name = "a"
expect = {profile = 1, load_options = "", devicetree = "none"}
"""


def test_reader_and_schema_take_the_whole_of_it():
    (case,) = cases.parse(FULL, "a")
    CASE.validate(tomllib.loads(FULL.decode("utf-8-sig")))
    assert case.expect["initrd"]["parts"] == ["initrd", {"name": "x"}]
    assert case.expect["profile"] == 1


def test_the_schema_has_the_keys_the_reader_has():
    schema = schemas.load("case")
    assert set(schema["properties"]) == {"$schema", "schema", "case", *cases._OF_CASE}
    assert set(schema["properties"]["case"]["items"]["properties"]) == set(cases._OF_CASE)
    assert set(schema["$defs"]["options"]["properties"]) == set(cases.OPTIONS)
    assert tuple(schema["$defs"]["expect"]["properties"]) == expectations.EXPECTATIONS
    assert tuple(schema["$defs"]["status"]["enum"]) == expectations.STATUSES


@pytest.mark.parametrize("name", [name for name in WRONG_TEXT if "above" not in name and "names" not in name])
def test_the_schema_refuses_it_too(name: str):
    value = tomllib.loads("uki = 'u'\nhost = 'h'\n" + WRONG_TEXT[name][0])
    if name in ("no expectation", "NUL"):
        pytest.skip("what may stand above the cases may be left out as well; a schema sees no NUL")
    assert list(CASE.iter_errors(value))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 1 << 33)
    | st.sampled_from(["", "none", "failed", "ab", "x*", "initrd", "\0", "\x1b"])
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*expectations.EXPECTATIONS, *cases.OPTIONS, "11", "sha256", "efifw", "parts", "size", "é"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*cases._OF_CASE, "schema", "case", "x"]), VALUES, max_size=6))
@example({"case": [{"name": "a", "uki": "u", "host": "h", "expect": {"cmdline": ""}}]})
@example({"uki": "u", "host": "h", "expect": {"pcrs": {"sha256": "none"}}})
def test_what_the_reader_takes_the_schema_takes(value: dict[str, Any]):
    try:
        cases._cases(value, "a", NamedFiles(allow_outside=True))
    except StubsimError:
        return
    CASE.validate(value)


@given(st.binary(max_size=200) | mutated(FULL) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_cases_or_an_error(data: bytes):
    with suppress(StubsimError):
        assert cases.parse(data, "a")


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 10000) + " = 1",
        "[" + ".".join("a" * 40) + "]",
        "x = {" + ".".join(["'a'"] * 40) + " = 1}",
        " . ".join(['"a.b"'] * 40) + " = 1",
    ],
)
def test_a_key_of_thousands_of_parts_is_not_read(text: str):
    """tomllib takes the square of their number."""
    with pytest.raises(StubsimError, match="a key of too many parts"):
        cases.parse(text.encode(), "a.boot.toml")


def test_dots_in_strings_and_comments_are_none_of_a_key():
    dots = "." * 100
    text = (
        f"""
uki = "u"  # {dots}
host = 'h'
[options]
cmdline = "a\\"{dots}"
[expect]
cmdline = \'\'\'{dots}
{dots}\'\'\'
log = ["{dots}", """
        + f'"""{dots}"x{dots}"""]\n'
    )
    (case,) = cases.parse(text.encode(), "a.boot.toml")
    assert case.options["cmdline"] == f'a"{dots}'
    assert case.expect["log"] == [dots, f'{dots}"x{dots}']
