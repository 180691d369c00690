"""The evaluation as a function over Arrow record batches, whatever engine makes them."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from stubsim.explain.selection import KINDS
from stubsim.fleet.answer import PCRS, Answer
from stubsim.fleet.coded import Coded
from stubsim.fleet.columns import NAMES

if TYPE_CHECKING:
    import pyarrow as pa

    from stubsim.errors import StubsimError
    from stubsim.fleet.plan import Plan

PREFIX = "stubsim_"
_WORDS = {kind: words.section.removeprefix(".") for kind, words in KINDS.items()}


def evaluate_batch(batch: pa.RecordBatch, plan: Plan) -> pa.RecordBatch:
    """What each row's machine makes of the UKI: a row of `result_schema` each, in the same order.

    Columns are the keys of a host file (`columns.NAMES`), of any type that casts to a text; others are not looked at. A
    null is unknown. Give it distinct machines: each row costs the same. Raises StubsimError as `stubsim.boot`
    does.
    """
    import pyarrow as pa

    numbers = plan.numbers(plan.kinds(coded_columns(batch), batch.num_rows))
    answers = answer_table(plan).to_batches()
    return (
        answers[0].take(pa.array(numbers, pa.int32())) if answers else pa.RecordBatch.from_pylist([], result_schema())
    )


def result_schema() -> pa.Schema:
    """The columns that `evaluate_batch` gives.

    Of each choice the number of the section, the compatible or firmware id that led to it, CHID type and entry of
    `.hwids`, and the unknown keys it hangs on; PCR values in hex where they are known.
    """
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    columns = [("outcome", text), ("outcome_hangs_on", text)]
    for word in _WORDS.values():
        columns += [
            (word, text),
            (f"{word}_section", number),
            (f"{word}_chid_type", number),
            (f"{word}_entry", number),
            (f"{word}_hangs_on", text),
        ]
    columns += [(f"pcr{pcr}", text) for pcr in PCRS]
    columns += [("error", text)]
    return pa.schema([(PREFIX + name, kind) for name, kind in columns])


def coded_columns(batch: pa.RecordBatch) -> dict[str, Coded]:
    """The columns that a host file has a key for, as texts."""
    return {name: _coded(batch.column(name)) for name in batch.schema.names if name in NAMES}


def answer_table(plan: Plan) -> pa.Table:
    """A row of `result_schema` for each answer there is by now."""
    import pyarrow as pa

    return pa.Table.from_pylist([_row(answer) for answer in plan.answers], result_schema())


def _coded(column: pa.Array) -> Coded:
    import pyarrow as pa

    encoded = column.cast(pa.string()).dictionary_encode("encode")
    codes = array("i")
    codes.frombytes(memoryview(encoded.indices.buffers()[1])[4 * encoded.indices.offset :][: 4 * len(encoded)])
    return Coded(codes, encoded.dictionary.to_pylist())


def _row(answer: Answer | StubsimError) -> dict[str, Any]:
    """One answer as the values of `result_schema`; absent is null, and what hangs on nothing has an empty text."""
    if not isinstance(answer, Answer):
        return {f"{PREFIX}error": str(answer)}
    row: dict[str, Any] = {"outcome": answer.status, "outcome_hangs_on": ", ".join(answer.hangs_on)}
    for kind, word in _WORDS.items():
        chosen = answer.chosen[kind]
        row |= {
            word: chosen.string,
            f"{word}_section": chosen.section,
            f"{word}_chid_type": chosen.chid_type,
            f"{word}_entry": chosen.entry,
            f"{word}_hangs_on": ", ".join(chosen.hangs_on),
        }
    row |= {f"pcr{pcr}": value.hex() for pcr, value in answer.pcrs.items()}
    return {PREFIX + name: value for name, value in row.items()}
