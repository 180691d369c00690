"""What `stubsim check` found, as JUnit XML, within the schema of Jenkins' xUnit plugin (junit-10.xsd)."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from stubsim.testing.telling import summary, text
from stubsim.views.terminal import clean

Json = dict[str, Any]


def junit(report: Json) -> bytes:
    """A suite for each case file and a test for each boot, from the value of `check_json`; no times, no host name."""
    root = ElementTree.Element("testsuites")
    suites: dict[str, list[Json]] = {}
    for run in report["runs"]:
        suites.setdefault(run["file"], []).append(run)
    for file, runs in suites.items():
        errors = sum(run["error"] is not None for run in runs)
        failures = sum(not run["passed"] for run in runs) - errors
        counts = {"tests": str(len(runs)), "failures": str(failures), "errors": str(errors), "skipped": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(file), **counts})
        for run in runs:
            name = clean(f"{run['case']}[{run['host']}]")
            test = ElementTree.SubElement(suite, "testcase", {"name": name, "classname": clean(file)})
            if run["error"] is not None:
                ElementTree.SubElement(test, "error", {"message": clean(run["error"])})
            elif not run["passed"]:
                message = clean(summary(run["differences"]))
                failure = ElementTree.SubElement(test, "failure", {"message": message})
                failure.text = "\n".join(clean(line) for line in text(run["differences"]).split("\n"))
    ElementTree.indent(root, " ")
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True)) + b"\n"
