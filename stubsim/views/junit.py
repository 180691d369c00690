"""What `stubsim check` found, as JUnit XML, within the schema of Jenkins' xUnit plugin (junit-10.xsd)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from stubsim.printable import clean, clean_lines
from stubsim.testing.telling import summary, text

Json = dict[str, Any]


def junit(report: Json, seconds: Sequence[float]) -> bytes:
    """A suite for each case file and a test for each boot, from the value of `check_json`; no host name.

    ``seconds`` are what the boots of the report took, in its order.
    """
    root = ElementTree.Element("testsuites")
    suites: dict[str, list[Json]] = {}
    for run, took in zip(report["runs"], seconds, strict=True):
        suites.setdefault(run["file"], []).append({**run, "seconds": took})
    for file, runs in suites.items():
        errors = sum(run["error"] is not None for run in runs)
        failures = sum(not run["passed"] for run in runs) - errors
        counts = {"tests": str(len(runs)), "failures": str(failures), "errors": str(errors), "skipped": "0"}
        time = f"{sum(run['seconds'] for run in runs):.3f}"
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(file), **counts, "time": time})
        for run in runs:
            name = clean(f"{run['case']}[{run['host']}]")
            own = {"name": name, "classname": clean(file), "time": f"{run['seconds']:.3f}"}
            test = ElementTree.SubElement(suite, "testcase", own)
            if run["error"] is not None:
                ElementTree.SubElement(test, "error", {"message": clean(run["error"])})
            elif not run["passed"]:
                message = clean(summary(run["differences"]))
                failure = ElementTree.SubElement(test, "failure", {"message": message})
                failure.text = clean_lines(text(run["differences"]))
    ElementTree.indent(root, " ")
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True)) + b"\n"
