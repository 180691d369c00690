"""Test vectors: they expect what the rules ask for, line by line, and both forms say the same."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator

from stubsim import chid, schemas
from stubsim.formats import hwids
from stubsim.formats.smbios import Fields
from stubsim.testing.vectors import STUBS, vectors
from stubsim.views.vectors import _string, vectors_c, vectors_json
from tests.conftest import SHARED, recordings

REPORT = vectors_json(vectors())
ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in REPORT["vectors"]}
# Name, then what 257.13, 259.8 and 262.1 settle on, once where it is the same: sections but .linux and .hwids by index,
# with sizes where VirtualSize is the subject, a refused table in brackets, a match as entry/CHID type.
LISTED = dict(
    line.split(maxsplit=1) if " " in line.strip() else (line.strip(), "")
    for line in Path(__file__).with_name("expected").joinpath("vectors.txt").read_text().splitlines()
)


def told(row: dict[str, Any], stub: str) -> str:
    expected = row["expected"][stub]
    if expected is None:
        return "unknown"
    if expected["refused"] is not None:
        return f"refused: {expected['refused']}"
    sized = row["name"].startswith("virtual")
    words = [
        f"{name}={found['index']}" + (f"/{found['size']}" if sized else "")
        for name, found in expected["sections"].items()
        if name not in (".linux", ".hwids")
    ]
    words += [f"[{expected['hwids']['error']}]"] if expected["hwids"]["error"] else []
    for word in hwids.KINDS:
        match = expected["hwids"][word]
        words += [f"{word}:{match['entry']}/{match['chid_type']}"] if match else []
    return " ".join(words) or "-"


@pytest.mark.parametrize("name", ROWS)
def test_as_written_down(name: str):
    each = [told(ROWS[name], stub) for stub in STUBS]
    assert LISTED[name].split(" | ") == (each if len(set(each)) > 1 else each[:1])


def test_all_are_written_down():
    assert list(LISTED) == list(ROWS)


def test_the_json_is_valid():
    Draft202012Validator(schemas.load("vectors")).validate(REPORT)


def section_table(image: bytes) -> list[tuple[str, int, int, int, int]]:
    """Read without any of our code: name, VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData."""
    (header,) = struct.unpack_from("<I", image, 0x3C)
    count, optional = struct.unpack_from("<H", image, header + 6)[0], struct.unpack_from("<H", image, header + 20)[0]
    rows = [struct.unpack_from("<8sIIII", image, header + 24 + optional + 40 * index) for index in range(count)]
    return [(row[0].partition(b"\0")[0].decode(), *row[1:]) for row in rows]


@pytest.mark.parametrize("name", ROWS)
def test_an_image_is_small_and_lies_in_memory_as_in_the_file(name: str):
    row = ROWS[name]
    image = base64.b64decode(row["image"]["base64"])
    assert row["image"]["size"] == len(image) < 1 << 16
    assert row["image"]["sha256"] == hashlib.sha256(image).hexdigest()
    table = section_table(image)
    end = 0
    for _, virtual_size, address, raw_size, offset in table:
        assert end <= address
        end = address + max(virtual_size, raw_size)
        assert end <= len(image)
        if raw_size:
            assert offset == address
    for expected in row["expected"].values():
        for found, place in (expected or {"sections": {}})["sections"].items():
            assert table[place["index"]][:3] == (found, place["size"], place["offset"])


@pytest.mark.parametrize("name", ROWS)
def test_the_chids_are_of_the_strings(name: str):
    row = ROWS[name]
    values = {key: text.encode() if isinstance(text, str) else text for key, text in row["smbios"].items()}
    panel = None if row["edid"] is None else "EXA12ef"
    own = chid.chids(Fields(**values), panel)
    assert row["chids"] == {str(kind): None if guid is None else str(guid) for kind, guid in own.items()}


def test_every_order_of_chid_types_is_there():
    pairs = {tuple(map(int, name.split("-")[1::2])) for name in ROWS if name.startswith("priority-")}
    assert pairs == set(pairwise(chid.PRIORITY))


def test_the_same_bytes_twice():
    again = vectors_json(vectors())
    assert again == REPORT
    assert vectors_c(again) == vectors_c(REPORT)


def test_recordings_that_are_named_are_there():
    """Only a part of the recordings is handed out; of what is named, at least half is in it, and none is misspelt."""
    if not SHARED.is_dir():
        pytest.skip("no recordings")
    here = {path.name.partition("@")[0] for path in recordings()}
    told_of = (SHARED / "spec" / "observed.md").read_text("utf-8")
    named = {
        case
        for row in ROWS.values()
        if row["source"].startswith("recorded boots of systemd-stub: ")
        for case in row["source"].partition(": ")[2].split(", ")
    }
    assert len(named & here) > len(named) / 2
    assert [case for case in named - here if f"`{case}" not in told_of] == []


def test_c_strings():
    assert _string('a"\\?\n\x7fé') == '"a\\042\\134\\077\\012\\177\\303\\251"'


PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "stubsim-vectors.h"

static uint32_t u32(const uint8_t *at) {
        return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t) at[3] << 24;
}

int main(void) {
        for (size_t i = 0; i < sizeof(stubsim_vectors) / sizeof(stubsim_vectors[0]); i++) {
                const stubsim_vector *v = &stubsim_vectors[i];
                const uint8_t *pe = v->image + u32(v->image + 0x3c), *table = pe + 24 + (pe[20] | pe[21] << 8);

                printf("%s %zu %d %u\n", v->name, v->size, v->asks_for_profile, v->profile);
                for (int kind = 0; kind < 18; kind++)
                        for (int byte = 0; byte < 16; byte++)
                                printf("%02x%s", v->chids[kind][byte], byte == 15 ? "\n" : "");
                for (int text = 0; text < STUBSIM_N_STRINGS; text++)
                        printf("%s\n", v->strings[text] ? v->strings[text] : "-");
                for (int stub = 0; stub < STUBSIM_N_STUBS; stub++) {
                        const stubsim_expected *e = &v->expected[stub];

                        printf("%d %s %s %d/%d %d/%d", e->known, e->refused ? e->refused : "-",
                               e->hwids_error ? e->hwids_error : "-", e->devicetree.entry, e->devicetree.chid_type,
                               e->firmware.entry, e->firmware.chid_type);
                        for (size_t n = 0; n < e->n_sections; n++) {
                                const stubsim_section *s = &e->sections[n];
                                const uint8_t *row = table + 40 * s->index;

                                if (strncmp((const char *) row, stubsim_section_names[s->name], 8) != 0 ||
                                    u32(row + 8) != s->size || u32(row + 12) != s->offset)
                                        return 1;
                                printf(" %s=%u", stubsim_section_names[s->name], s->index);
                        }
                        printf("\n");
                }
        }
        return 0;
}
"""


def as_the_program_says() -> list[str]:
    lines = []
    for row in REPORT["vectors"]:
        asked = row["profile"]
        lines.append(f"{row['name']} {row['image']['size']} {int(asked is not None)} {asked or 0}")
        lines += [(UUID(own).bytes_le if own else bytes(16)).hex() for own in row["chids"].values()]
        texts = [row["smbios"][name] for name in Fields._fields[:8]]
        lines += ["-" if text is None else text for text in texts]
        for stub in STUBS:
            expected = row["expected"][stub]
            if expected is None:
                lines.append("0 - - 0/0 0/0")
                continue
            matches = [expected["hwids"][word] or {"entry": -1, "chid_type": -1} for word in hwids.KINDS]
            both = " ".join(f"{match['entry']}/{match['chid_type']}" for match in matches)
            found = "".join(f" {name}={place['index']}" for name, place in expected["sections"].items())
            lines.append(f"1 {expected['refused'] or '-'} {expected['hwids']['error'] or '-'} {both}{found}")
    return lines


@pytest.mark.oracle
def test_a_c_program_reads_the_same(tmp_path: Path, oracle: Callable[[str], str]):
    (tmp_path / "stubsim-vectors.h").write_text(vectors_c(REPORT))
    (tmp_path / "test.c").write_text(PROGRAM)
    options = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    gcc = oracle("gcc")
    subprocess.run([gcc, "-fsyntax-only", *options, "stubsim-vectors.h"], cwd=tmp_path, check=True, timeout=120)
    subprocess.run([gcc, *options, "-o", "test", "test.c"], cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run([tmp_path / "test"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == as_the_program_says()


def test_the_constants_of_the_header_are_names_in_c():
    named = re.findall(r"^ +(STUBSIM_[^ ,]*),|\[(STUBSIM_[^\]]*)\]", vectors_c(REPORT), re.M)
    found = {one or other for one, other in named}
    assert {"STUBSIM_257_13", "STUBSIM_DTBAUTO", "STUBSIM_N_STUBS"} <= found
    assert [name for name in found if not re.fullmatch("[A-Z][A-Z0-9_]*", name)] == []


def test_the_names_of_the_fields_are_in_the_order_of_the_header():
    names = [line.strip(" ,") for line in vectors_c(REPORT).splitlines()]
    start = names.index("STUBSIM_MANUFACTURER")
    wanted = [f"STUBSIM_{name.upper()}" for name in Fields._fields[:8]]
    assert names[start : start + 8] == wanted
