"""`.pcrsig`: signed policies of PCR values, as systemd-measure writes them and systemd's TPM code reads them.

JSON: bank -> list of objects with "pcrs", "pkfp", "pol", "sig" and, where one is used, "ref" (systemd 255,
src/boot/measure.c and src/shared/tpm2-util.c, find_signature(); "ref" is seen in what systemd-measure 262.1 writes).
An entry that lacks a key is passed over by the reader. What is malformed is of interest to it only when it comes so far
as to look at it: no object and bad "pcrs" end its search in that bank at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from struct import pack
from typing import Any

from stubsim.errors import StubsimError
from stubsim.extent import Bytes
from stubsim.formats.eventlog import ALGORITHMS
from stubsim.rows import NamedTuple

# A signature of a large key takes half a KiB; four banks, five phases and a thousand kinds of machines are 10 MiB.
SIZE_MAX = 16 << 20
ENTRIES_MAX = 1 << 16
PCRS = 24

_TPM_CC_POLICY_PCR = 0x17F
_SELECT_SIZE = 3
_DIGITS_MAX = 20
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")


class Entry(NamedTuple):
    """One signed policy; None is what the entry lacks, or what is ``malformed``, the first such key.

    ``ref`` is signed with ``pol``, as TPM2_PolicyAuthorize has it.
    """

    pcrs: tuple[int, ...] | None
    pkfp: bytes | None
    pol: bytes | None
    sig: bytes | None
    ref: str | None = None
    malformed: str | None = None

    @property
    def signed(self) -> bytes:
        """What the signature is over; the reference is there as its hash ("tbs" of systemd-measure 262.1)."""
        reference = hashlib.sha256(self.ref.encode("utf-8", "surrogatepass")).digest() if self.ref else b""
        return (self.pol or b"") + reference


class Bank(NamedTuple):
    """A bank's entries up to the one that ends every search, and what is wrong with that."""

    name: str
    entries: tuple[Entry, ...]
    fault: str | None = None


def parse(data: Bytes) -> tuple[Bank, ...]:
    """The banks in the order of the file. Raises StubsimError for what is not JSON object of arrays, and no more."""
    if len(data) > SIZE_MAX:
        raise StubsimError(f"larger than {SIZE_MAX >> 20} MiB", section=".pcrsig", expected="signed PCR policies")
    try:
        value = json.loads(
            bytes(data).decode("utf-8"), object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant
        )
    except UnicodeDecodeError as error:
        raise _not_json("not UTF-8", error.start) from None
    except json.JSONDecodeError as error:
        raise _not_json(error.msg, len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))) from None
    except RecursionError:
        raise _not_json("nested too deeply") from None
    if not isinstance(value, dict):
        raise _not_json("not a JSON object")
    if sum(len(rows) for rows in value.values() if isinstance(rows, list)) > ENTRIES_MAX:
        raise StubsimError(f"more than {ENTRIES_MAX} signatures", section=".pcrsig")
    return tuple(_bank(name, rows) for name, rows in value.items())


def build(banks: Iterable[Bank]) -> bytes:
    """The JSON of these banks, as ukify writes it."""
    return json.dumps({bank.name: [_entry_json(entry) for entry in bank.entries] for bank in banks}).encode()


def policy_pcr(bank: str, values: Mapping[int, bytes]) -> bytes:
    """The digest of a policy session after TPM2_PolicyPCR over these PCRs of a bank; the session's hash is SHA-256.

    TPM 2.0 Library Specification, Part 3, 23.7: H(zeros || TPM_CC_PolicyPCR || TPML_PCR_SELECTION || H(values)).
    """
    select = bytearray(_SELECT_SIZE)
    for pcr in values:
        select[pcr // 8] |= 1 << pcr % 8
    selection = pack(">IHB", 1, ALGORITHMS[bank][0], _SELECT_SIZE) + select
    digest = hashlib.sha256(b"".join(values[pcr] for pcr in sorted(values))).digest()
    return hashlib.sha256(bytes(32) + pack(">I", _TPM_CC_POLICY_PCR) + selection + digest).digest()


def _not_json(message: str, offset: int | None = None) -> StubsimError:
    return StubsimError(message, section=".pcrsig", offset=offset, expected="a JSON object of signatures by bank")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _not_json("a key that stands twice in one object: which of them counts is not known")
    return value


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _DIGITS_MAX else float("inf")


def _constant(text: str) -> Any:
    raise _not_json(f"{text} is not JSON")


def _bank(name: str, rows: Any) -> Bank:
    if not isinstance(rows, list):
        return Bank(name, (), "its value is not an array")
    entries: list[Entry] = []
    for place, row in enumerate(rows):
        try:
            entries.append(_entry(row))
        except ValueError as error:
            return Bank(name, tuple(entries), f"entry {place}: {error}")
    return Bank(name, tuple(entries))


def _entry(row: Any) -> Entry:
    """Raises ValueError where every search ends."""
    if not isinstance(row, dict):
        raise ValueError("not an object")
    entry = Entry(None if row.get("pcrs") is None else _pcrs(row["pcrs"]), None, None, None)
    for key, read in _READERS.items():
        try:
            entry = entry._replace(**{key: None if row.get(key) is None else read(row[key])})
        except ValueError:
            return entry._replace(malformed=key)
    return entry


def _pcrs(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError("pcrs is not an array")
    if any(type(pcr) is not int or not 0 <= pcr < PCRS for pcr in value):
        raise ValueError(f"pcrs has something else than numbers from 0 to {PCRS - 1}")
    return tuple(sorted(set(value)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def _hex(value: Any) -> bytes:
    if _HEX.fullmatch(_text(value)) is None:
        raise ValueError("not hexadecimal")
    return bytes.fromhex(value)


def _base64(value: Any) -> bytes:
    # Blanks are no matter to systemd's unbase64mem().
    return base64.b64decode("".join(_text(value).split()), validate=True)


# In the order in which the reader looks.
_READERS: dict[str, Callable[[Any], Any]] = {"pkfp": _hex, "pol": _hex, "sig": _base64, "ref": _text}


def _entry_json(entry: Entry) -> dict[str, Any]:
    row = {
        "pcrs": None if entry.pcrs is None else list(entry.pcrs),
        "pkfp": None if entry.pkfp is None else entry.pkfp.hex(),
        "ref": entry.ref,
        "pol": None if entry.pol is None else entry.pol.hex(),
        "sig": None if entry.sig is None else base64.b64encode(entry.sig).decode(),
    }
    return {key: value for key, value in row.items() if value is not None}
