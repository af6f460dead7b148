"""The report as one HTML page that needs nothing else, neither a server nor the network.

It is passed on as a file, and read by people who have no checkout: each requirement stands there
with its words and with what answers it.
"""

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

from .check import Finding
from .coverage import Answer, Coverage, Entry, Figures
from .model import Document, Role, Witness

_HERE = Path(__file__).resolve().parent
_STYLE = {
    Answer.BOTH: "both",
    Answer.CASE: "case",
    Answer.TEST: "test",
    Answer.EXCLUDED: "excluded",
    Answer.OPEN: "open",
}
_HEADS = ("RFC", "total", "by case", "by test", "excluded", "open", "answered", "of all")


def percent(share: float) -> str:
    """A share for people. Never rounded up: 99.96 % is not all."""
    return f"{int(share * 1000) / 10:.1f} %"


def cells(figures: Figures) -> list[str]:
    """The figures as a table says them, in the order of the printed heads."""
    counts = (figures.total, figures.by_case, figures.by_test, figures.excluded, figures.open)
    return [*map(str, counts), percent(figures.share), percent(figures.share_of_all)]


def render(finding: Finding) -> str:
    """The whole page: how much is answered for each role, and every requirement with by what."""
    found = finding.coverage
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>Requirements and their answers</title>",
            f"<style>{(_HERE / 'page.css').read_text('utf-8')}</style></head><body>",
            "<h1>Requirements and their answers</h1>",
            '<p class="quiet">Every absolute requirement that these RFCs make of a relay or of an '
            "ICE-lite server, in our own words, and what would fail if it were broken. The share "
            "is of those that are not excluded; beside it stands the share of all.</p>",
            *_problems(finding),
            '<div class="roles">',
            *(_role(found, role) for role in Role),
            "</div>",
            *(_figures(found, role) for role in Role),
            _form(found),
            *(_document(found, document) for document in found.documents),
            f"<script>{(_HERE / 'page.js').read_text('utf-8')}</script></body></html>\n",
        ]
    )


def _problems(finding: Finding) -> Iterable[str]:
    if finding.problems:
        listed = "".join(f"<li>{escape(str(problem))}" for problem in finding.problems)
        yield f'<div class="problems"><strong>To be put right</strong><ul>{listed}</ul></div>'


def _role(found: Coverage, role: Role) -> str:
    figures = found.figures(role)
    both = figures.by_case + figures.by_test - figures.answered
    parts = {
        Answer.BOTH: both,
        Answer.CASE: figures.by_case - both,
        Answer.TEST: figures.by_test - both,
        Answer.EXCLUDED: figures.excluded,
        Answer.OPEN: figures.open,
    }
    bar = "".join(
        f'<i class="{_STYLE[answer]}" style="flex:{count}" title="{count} {answer.value}"></i>'
        for answer, count in parts.items()
        if count
    )
    legend = "".join(_tag(answer, f"{count} {answer.value}") for answer, count in parts.items())
    binding = figures.total - figures.excluded
    return (
        f'<div class="role"><h2 style="margin:0">{role.value}</h2><b>{percent(figures.share)}</b>'
        f"{figures.answered} of {binding} answered"
        f'<div class="bar">{bar}</div>{legend}'
        f'<div class="quiet">{percent(figures.share_of_all)} of all {figures.total}</div></div>'
    )


def _tag(answer: Answer, text: str) -> str:
    return f'<span class="tag {_STYLE[answer]}">{escape(text)}</span>'


def _figures(found: Coverage, role: Role) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    rows = []
    for document in found.documents:
        figures = found.figures(role, document)
        if figures.total:
            link = f'<a href="#{document.name}">{document.rfc}</a>'
            rows.append(_row([link, *cells(figures)]))
    rows.append(_row(["all", *cells(found.figures(role))]))
    return (
        f'<h2>{role.value} by RFC</h2><div class="wide"><table class="figures">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _form(found: Coverage) -> str:
    numbers = {document.name: str(document.rfc) for document in found.documents}
    answers = {answer.value: answer.value for answer in Answer if answer is not Answer.BOTH}
    return (
        '<form><label>Find <input name="text" type="search" placeholder="a word, an id, a name">'
        "</label>"
        + _select("RFC", "rfc", numbers)
        + _select("Role", "role", {role.value: role.value for role in Role})
        + _select("Answered by", "answer", answers)
        + '<output class="quiet"></output></form>'
    )


def _select(label: str, name: str, choices: dict[str, str]) -> str:
    options = "".join(f'<option value="{key}">{text}</option>' for key, text in choices.items())
    return (
        f'<label>{label} <select name="{name}"><option value="">any</option>{options}'
        "</select></label>"
    )


def _document(found: Coverage, document: Document) -> str:
    entries = found.of(document)
    rows = "".join(_entry(entry, document) for entry in entries)
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("id", "level", "asked", "answered by")
    )
    link = f"https://www.rfc-editor.org/rfc/{document.name}.html"
    asked = (
        f'<div class="wide"><table class="asked"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return (
        f'<section class="rfc" id="{document.name}"><h2><a href="{link}">RFC {document.rfc}</a> '
        f"<small>{escape(document.title)}</small></h2>{asked if entries else ''}"
        f"{_others(document)}</section>"
    )


def _entry(entry: Entry, document: Document) -> str:
    requirement = entry.requirement
    answers = {role: entry.answer(role) for role in Role if role in requirement.applies}
    data = "".join(f' data-{role.value}="{answer.value}"' for role, answer in answers.items())
    tags = "".join(
        _tag(answer, f"{role.value}: {answer.value}") for role, answer in answers.items()
    )
    link = f"https://www.rfc-editor.org/rfc/{document.name}.html#section-{requirement.section}"
    if requirement.section[0].isalpha():
        link = link.replace("#section-", "#appendix-")
    by = _names(entry.cases) + _names(entry.tests)
    reasons = (requirement.excluded, _deviation(requirement.deviates))
    reason = "".join(f"<div>{escape(each)}</div>" for each in reasons if each)
    return (
        f'<tr id="{requirement.id}" data-rfc="{document.name}"{data}>'
        f'<td><a href="{link}"><code>{requirement.id}</code></a></td>'
        f"<td>{requirement.level.value}</td><td>{escape(requirement.text)}</td>"
        f"<td>{tags}{reason}{f'<ul>{by}</ul>' if by else ''}</td></tr>"
    )


def _deviation(reason: str) -> str:
    return f"Our own server does not keep it: {reason}" if reason else ""


def _names(witnesses: Iterable[Witness]) -> str:
    return "".join(f"<li><code>{_breakable(witness.name)}</code>" for witness in witnesses)


def _breakable(name: str) -> str:
    """A long name that may be broken behind its joints, and is copied without the breaks."""
    return re.sub(r"([/_]|::)(?=.)", r"\1<wbr>", escape(name))


def _others(document: Document) -> str:
    if not document.not_applicable:
        return ""
    count = sum(len(other.ids) for other in document.not_applicable)
    listed = "".join(
        f"<li>{escape(other.reason)} <code>{', '.join(map(escape, other.ids))}</code>"
        for other in document.not_applicable
    )
    return f"<details><summary>{count} bind neither role</summary><ul>{listed}</ul></details>"
