"""Test vectors as JSON (`stubsim/vectors/1`) and as a C table, made from the JSON."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from stubsim import chid
from stubsim.formats import hwids
from stubsim.stub.chid_match import Match
from stubsim.testing.vectors import Expected, Vector, models

Json = dict[str, Any]

_FIELDS = (
    "manufacturer", "product_name", "product_sku", "family", "baseboard_manufacturer", "baseboard_product",
    "bios_vendor", "bios_version", "bios_major", "bios_minor", "enclosure_type",
)  # fmt: skip
_TEXTS = _FIELDS[:8]
_WIDTH = 116


def vectors_json(vectors: Sequence[Vector]) -> Json:
    """The contract of `stubsim vectors --format json`."""
    return {
        "schema": "stubsim/vectors/1",
        "stubs": [{"id": model.id, "basis": model.basis, "sections": list(model.sections)} for model in models()],
        "vectors": [_vector(vector) for vector in vectors],
    }


def _vector(vector: Vector) -> Json:
    recipe = vector.recipe
    return {
        "name": recipe.name,
        "rule": recipe.rule,
        "source": recipe.source,
        "image": {
            "size": len(vector.image),
            "sha256": hashlib.sha256(vector.image).hexdigest(),
            "base64": _base64(vector.image),
        },
        "profile": recipe.profile,
        "smbios": {name: _text(getattr(recipe.fields, name)) for name in _FIELDS},
        "edid": _base64(vector.edid),
        "devicetree": _base64(vector.devicetree),
        "chids": {str(kind): None if own is None else str(own) for kind, own in vector.chids.items()},
        "expected": {name: None if own is None else _expected(own) for name, own in vector.expected.items()},
    }


def _text(value: bytes | int | None) -> str | int | None:
    return value.decode() if isinstance(value, bytes) else value


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _expected(expected: Expected) -> Json:
    return {
        "refused": expected.refused,
        "sections": {
            name: {"index": row.index, "offset": row.virtual_address, "size": row.virtual_size}
            for name, row in expected.sections.items()
        },
        "hwids": {
            "error": expected.hwids_error,
            **{word: _match(expected.matches.get(kind)) for word, (kind, _) in hwids.KINDS.items()},
        },
    }


def _match(match: Match | None) -> Json | None:
    return None if match is None else {"entry": match.entry.index, "chid_type": match.chid_type}


def vectors_c(report: Json) -> str:
    """The value of `vectors_json` as a C11 header with a table in it."""
    stubs, rows = report["stubs"], report["vectors"]
    names = max((stub["sections"] for stub in stubs), key=len)
    lines = [_HEAD]
    lines += ["enum {", *(f"        {_constant(name)}," for name in names), "        STUBSIM_N_SECTIONS,", "};", ""]
    lines += ["enum {"]
    lines += [f"        {_constant(stub['id'])}, /* by {stub['basis']} */" for stub in stubs]
    lines += ["        STUBSIM_N_STUBS,", "};", ""]
    lines += ["enum {", *(f"        {_constant(name)}," for name in _TEXTS), "        STUBSIM_N_STRINGS,", "};", ""]
    lines += [_TYPES]
    lines += ["STUBSIM_UNUSED static const char *const stubsim_section_names[STUBSIM_N_SECTIONS] = {"]
    lines += [f"        [{_constant(name)}] = {_string(name)}," for name in names] + ["};", ""]
    for number, row in enumerate(rows):
        for what in ("edid", "devicetree"):
            if row[what] is not None:
                lines += _bytes(f"stubsim_{what}_{number}", base64.b64decode(row[what]))
        lines += _bytes(f"stubsim_image_{number}", base64.b64decode(row["image"]["base64"]))
    lines += ["", "STUBSIM_UNUSED static const stubsim_vector stubsim_vectors[] = {"]
    for number, row in enumerate(rows):
        lines += _row(number, row)
    lines += ["};", "", "#endif", ""]
    return "\n".join(lines)


def _row(number: int, row: Json) -> Iterator[str]:
    yield "        {"
    for key in ("name", "rule", "source"):
        yield f"                .{key} = {_string(row[key])},"
    yield f"                .image = stubsim_image_{number}, .size = sizeof(stubsim_image_{number}),"
    asked = row["profile"]
    yield f"                .asks_for_profile = {'false' if asked is None else 'true'}, .profile = {asked or 0}u,"
    for what in ("edid", "devicetree"):
        if row[what] is not None:
            yield f"                .{what} = stubsim_{what}_{number}, .{what}_size = sizeof(stubsim_{what}_{number}),"
    yield "                .strings = {"
    for name in _TEXTS:
        if row["smbios"][name] is not None:
            yield f"                        [{_constant(name)}] = {_string(row['smbios'][name])},"
    yield "                },"
    yield "                .chids = {"
    for kind, own in row["chids"].items():
        if own is not None:
            values = ", ".join(f"0x{byte:02x}" for byte in UUID(own).bytes_le)
            yield f"                        [{kind}] = {{ {values} }},"
    yield "                },"
    yield "                .expected = {"
    for name, expected in row["expected"].items():
        yield from _row_expected(_constant(name), expected)
    yield "                },"
    yield "        },"


def _row_expected(stub: str, expected: Json | None) -> Iterator[str]:
    yield f"                        [{stub}] = {{"
    if expected is None:
        yield "                                .known = false,"
    else:
        error = expected["hwids"]["error"]
        yield "                                .known = true,"
        for key, text in (("refused", expected["refused"]), ("hwids_error", error)):
            if text is not None:
                yield f"                                .{key} = {_string(text)},"
        for key, word in (("devicetree", "devicetree"), ("firmware", "uefi-fw")):
            match = expected["hwids"][word] or {"entry": -1, "chid_type": -1}
            yield f"                                .{key} = {{ {match['entry']}, {match['chid_type']} }},"
        if expected["sections"]:
            yield "                                .sections = {"
            for name, found in expected["sections"].items():
                values = f"{_constant(name)}, {found['index']}, {found['offset']:#x}, {found['size']:#x}"
                yield f"                                        {{ {values} }},"
            yield "                                },"
        yield f"                                .n_sections = {len(expected['sections'])},"
    yield "                        },"


def _constant(name: str) -> str:
    return "STUBSIM_" + name.lstrip(".").translate(str.maketrans("-.", "__")).upper()


def _string(text: str) -> str:
    """A C string literal in ASCII; octal escapes end after three digits, and a question mark could be a trigraph's."""
    return '"' + "".join(chr(byte) if _is_plain(byte) else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _is_plain(byte: int) -> bool:
    return 0x20 <= byte < 0x7F and byte not in b'"\\?'


def _bytes(name: str, data: bytes) -> Iterator[str]:
    """An array; runs of zeros are left to the compiler."""
    yield f"static const uint8_t {name}[{len(data)}] = {{"
    line = "       "
    for written, group in groupby(enumerate(data), key=lambda item: item[1] != 0):
        for place, (index, byte) in enumerate(group) if written else ():
            word = f" [{index:#x}] = {byte:#04x}," if not place else f" {byte:#04x},"
            if len(line) + len(word) > _WIDTH:
                yield line
                line = "       "
            line += word
    yield line
    yield "};"


_HEAD = """\
/* SPDX-License-Identifier: MIT */
/*
 * Which sections of a UKI systemd-stub settles on, on which machine: test vectors by stubsim.
 *
 * Each vector is a small PE image, a machine, and what each release of the stub does with them. Sections lie in the
 * image where they lie in the file: image[] can be parsed as a file and as a loaded image alike, and VirtualAddress
 * is an offset into it. No code is in them, nothing is to be run.
 *
 * expected[] says for each stub which rows of the section table it settles on, in the order of its names, so that
 * there is none for a name that is not listed; and which entry of .hwids matched for devicetree and for firmware, by
 * which CHID type (-1: none matched or none was looked for). Where .refused is set, the stub logs that and does not
 * boot; .hwids_error is the UEFI status for which it refuses the whole table. Where .known is false, it reads memory
 * behind the section, so that nobody can tell.
 *
 * strings[] are the SMBIOS strings (NULL: string number 0), chids[] the machine's CHIDs as EFI_GUID in memory, absent
 * ones all zeros. edid and devicetree (the firmware's, in EFI_DTB_TABLE) are NULL where there is none. profile is what
 * the load options ask for, as "@N".
 *
 * "source" names recorded boots of real stubs (257.13 and 262.1, QEMU with OVMF) that show the rule, or where it is
 * from. What is expected of a stub "by source" was not recorded.
 */
#ifndef STUBSIM_VECTORS_H
#define STUBSIM_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#  define STUBSIM_UNUSED __attribute__((unused))
#else
#  define STUBSIM_UNUSED
#endif
"""

_TYPES = f"""\
typedef struct {{
        int name;
        unsigned index;
        uint32_t offset;
        uint32_t size;
}} stubsim_section;

typedef struct {{
        int entry;
        int chid_type;
}} stubsim_match;

typedef struct {{
        bool known;
        const char *refused;
        const char *hwids_error;
        stubsim_match devicetree;
        stubsim_match firmware;
        stubsim_section sections[STUBSIM_N_SECTIONS];
        size_t n_sections;
}} stubsim_expected;

typedef struct {{
        const char *name;
        const char *rule;
        const char *source;
        const uint8_t *image;
        size_t size;
        bool asks_for_profile;
        uint32_t profile;
        const char *strings[STUBSIM_N_STRINGS];
        uint8_t chids[{len(chid.PARTS)}][16];
        const uint8_t *edid;
        size_t edid_size;
        const uint8_t *devicetree;
        size_t devicetree_size;
        stubsim_expected expected[STUBSIM_N_STUBS];
}} stubsim_vector;
"""
