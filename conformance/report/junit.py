"""A run as JUnit XML, for the pages of CI systems.

They know four things: passed, failure, error, skipped. What fails the run is a failure, a harness
that broke an error; what could not be asked is skipped, and so is a known failure, each with its
reason. Lenient and noted cases pass and say so in their output. Where nobody was there to be asked,
that is the one error. A known failure that passes now is
a failing test of its own, because it fails the run.
"""

from xml.etree import ElementTree

from conformance.case import Verdict
from conformance.runner import Result

from .plain import one_line, plain
from .run import Run, group, said


def render(run: Run) -> str:
    """The document: one suite for each RFC or part of the project, in the order of the cases."""
    groups: dict[str, list[Result]] = {}
    for result in run.results:
        groups.setdefault(group(result.case), []).append(result)
    root = ElementTree.Element("testsuites", name=f"conformance of {one_line(run.subject)}")
    for name, results in groups.items():
        _suite(root, run, name, results)
    if run.nobody:
        suite = ElementTree.SubElement(root, "testsuite", name="the server")
        test = ElementTree.SubElement(
            suite, "testcase", name="is there", classname="the server", time="0"
        )
        ElementTree.SubElement(test, "error", message=one_line(run.nobody), type="nobody")
        _count(suite)
    if run.outlived:
        suite = ElementTree.SubElement(root, "testsuite", name="known failures")
        for entry in run.outlived:
            test = ElementTree.SubElement(
                suite, "testcase", name=one_line(entry.case), classname="known failures", time="0"
            )
            message = f"passes now, take it out of the file: {one_line(entry.reason)}"
            ElementTree.SubElement(test, "failure", message=message, type="outlived")
        _count(suite)
    _count(root)
    root.set("time", f"{run.seconds:.3f}")
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _suite(root: ElementTree.Element, run: Run, name: str, results: list[Result]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"subject": run.subject, "seed": run.seed, "program": f"stunroute {run.version}"}
    for key, value in facts.items():
        ElementTree.SubElement(properties, "property", name=key, value=one_line(value))
    for result in results:
        _test(suite, run, result)
    _count(suite)
    suite.set("timestamp", run.began.partition("+")[0])
    suite.set("time", f"{sum(result.seconds for result in results):.3f}")


def _test(suite: ElementTree.Element, run: Run, result: Result) -> None:
    case, known = result.case, run.known(result)
    test = ElementTree.SubElement(
        suite,
        "testcase",
        name=case.name,
        classname=case.source,
        time=f"{result.seconds:.3f}",
    )
    what = one_line(said(result)) or result.verdict.value
    if result.verdict is Verdict.BROKEN:
        _outcome(test, "error", result, what).text = _particulars(run, result)
    elif result.verdict is Verdict.UNSUPPORTED:
        ElementTree.SubElement(test, "skipped", message=what)
    elif known is not None:
        message = f"known failure ({one_line(known.reason)}): {what}"
        ElementTree.SubElement(test, "skipped", message=message)
    elif run.fails(result):
        _outcome(test, "failure", result, what).text = _particulars(run, result)
    elif result.verdict is not Verdict.PASS:
        output = ElementTree.SubElement(test, "system-out")
        output.text = f"{result.verdict.value}: {_particulars(run, result)}"


def _outcome(
    test: ElementTree.Element, kind: str, result: Result, what: str
) -> ElementTree.Element:
    return ElementTree.SubElement(test, kind, message=what, type=result.verdict.value)


def _particulars(run: Run, result: Result) -> str:
    case = result.case
    lines = [
        plain(said(result)),
        f"asked for: {case.requirement} ({case.level.value}, {case.source})",
        f"sent: {case.sends}",
        f"again: {one_line(run.rerun(result))}",
    ]
    return "\n".join(lines)


def _count(element: ElementTree.Element) -> None:
    tests = list(element.iter("testcase"))
    element.set("tests", str(len(tests)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(test.find(tag) is not None for test in tests)))
