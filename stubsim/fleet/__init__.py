"""One UKI on many machines: what is chosen, by what, and which PCR values have to be accepted.

`evaluate_batch` is a pure function over Arrow record batches, whatever engine they come from; `engine` is the one that
`stubsim fleet` uses, `spark` an adapter for a cluster. Needs pyarrow (the extra ``fleet``).
"""

from __future__ import annotations

from stubsim.fleet.evaluate import evaluate_batch, result_schema
from stubsim.fleet.plan import Plan

__all__ = ["Plan", "evaluate_batch", "result_schema"]
