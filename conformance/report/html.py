"""A run as one HTML page that needs nothing else: no server, no network, no library.

What a reader wants first is plain HTML: the counts, the matrix, the list, and for each case what it
asks and what was seen; sections are shown by ``:target``, so links and the back button work, and
printing too. The bulk (ladders, tables of datagrams, captures) stands compressed in the page and is
unpacked when a case is opened; that keeps a page of some hundred cases to a few megabytes. What
servers sent is in there, so everything is escaped, and a policy in the page's head allows the one
script and the one style that it came with and nothing else.
"""

import base64
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from conformance.case import Case, Profile, Verdict
from conformance.runner import Result
from conformance.traps import TRAPS

from .decoding import Account, Remark, Told, tell
from .files import file_name, pcapng
from .ladder import draw
from .plain import one_line, plain
from .run import Run, crossings, group, said

_HERE = Path(__file__).resolve().parent
MOST_CAPTURES = 2 << 20
"""Bytes of captures, as they stand in the page, that it holds unless all are to be kept. Cases that
are not well come first, then the small ones."""
MOST_FIRST = 8
"""Failing cases that are shown before the matrix."""
SIGNS = {
    Verdict.PASS: "✓",
    Verdict.LENIENT: "~",
    Verdict.NOTED: "i",
    Verdict.FAIL: "✗",
    Verdict.BLOCKED: "■",
    Verdict.UNSUPPORTED: "–",
    Verdict.BROKEN: "!",
}
MEANINGS = {
    Verdict.PASS: "as the requirement has it",
    Verdict.LENIENT: "a SHOULD was not followed, or a MUST in a way that harms nobody",
    Verdict.NOTED: "a MAY was not taken up",
    Verdict.FAIL: "a MUST was broken",
    Verdict.BLOCKED: "what has to come before the question did not work",
    Verdict.UNSUPPORTED: "cannot be asked here, for the reason given",
    Verdict.BROKEN: "the harness itself failed, which is not the server's fault",
}


def render(run: Run, *, keep_all: bool = False) -> str:
    """The page. The same run gives the same page, byte for byte."""
    style, script = (_HERE / "page.css").read_text("utf-8"), (_HERE / "page.js").read_text("utf-8")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    captures = _captures(run, keep_all=keep_all)
    results = run.results
    cases = [
        _case(run, results, index, captures.get(result.case.name))
        for index, result in enumerate(results)
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>Conformance of {escape(one_line(run.subject))}</title>",
            f"<style>{style}</style></head><body>",
            '<main class="overview" id="overview">',
            _header(run),
            *(() if run.nobody else _overview(run)),
            "</main>",
            *cases,
            f"<script>{script}</script></body></html>\n",
        ]
    )


def _overview(run: Run) -> Iterable[str]:
    return (_tiles(run), _first(run), _profiles(run), _groups(run), _list(run))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# --- the overview ---------------------------------------------------------------------------------


def _header(run: Run) -> str:
    failing = sum(run.fails(result) for result in run.results)
    forgiven = {Verdict.FAIL, Verdict.BLOCKED} | ({Verdict.LENIENT} if run.strict else set())
    known = sum(
        run.known(result) is not None and result.verdict in forgiven for result in run.results
    )
    cases = _plural(len(run.results), "case")
    facts = {
        "Asked": _began(run),
        "Took": f"{run.seconds:.1f} s",
        "Suite": f"stunroute {run.version}",
        "Seed": run.seed,
        "Options": f"<code>{escape(one_line(' '.join(run.options)))}</code>",
    }
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{value if value.startswith('<') else escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    if run.nobody:
        outcome = "Nobody is there, so nothing was judged"
    elif failing:
        outcome = f"{failing} of {cases} fail this run" if failing > 1 else f"1 of {cases} fails"
    elif run.outlived:
        outcome = "A known failure passes now"
    else:
        outcome = f"None of {cases} fails"
    mood = "bad" if failing or run.outlived or run.nobody else "good"
    extras = []
    if known:
        extras.append(f"{_plural(known, 'known failure')} not counted")
    if run.strict:
        extras.append("strict: lenient counts as failed")
    beside = f' <span class="quiet">{escape("; ".join(extras))}</span>' if extras else ""
    remarks = "".join(
        f'<p class="remark">{escape(one_line(text))}</p>'
        for text in (run.nobody, *run.remarks)
        if text
    )
    outlived = "".join(
        f"<li><code>{escape(one_line(entry.case))}</code> passes now. Its reason was: "
        f"{escape(one_line(entry.reason))}"
        for entry in run.outlived
    )
    return (
        '<header><p class="kicker">Conformance report</p>'
        f'<h1>{escape(one_line(run.subject))}</h1><p class="outcome {mood}">{escape(outcome)}.'
        f'{beside}</p>{remarks}<dl class="facts">{listed}</dl>'
        + (f'<ul class="outlived">{outlived}</ul>' if outlived else "")
        + "</header>"
    )


def _began(run: Run) -> str:
    return run.began.replace("T", " ").replace("+00:00", " UTC")


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _tiles(run: Run) -> str:
    counts = run.counts
    tiles = "".join(
        f'<button type="button" class="tile {verdict.value}" data-verdict="{verdict.value}" '
        f'title="{escape(MEANINGS[verdict])}"><b>{counts[verdict]}</b>{_tag(verdict)}</button>'
        for verdict in Verdict
        if counts[verdict]
    )
    parts = "".join(
        f'<rect class="{verdict.value}" x="{before}" width="{counts[verdict]}" height="1"/>'
        for verdict, before in _stacked(counts)
    )
    total = max(len(run.results), 1)
    bar = (
        f'<svg class="bar" viewBox="0 0 {total} 1" preserveAspectRatio="none" aria-hidden="true">'
        f"{parts}</svg>"
    )
    meanings = "".join(
        f"<div><dt>{_tag(verdict)}</dt><dd>{escape(MEANINGS[verdict])}</dd></div>"
        for verdict in Verdict
    )
    return (
        f'<section aria-label="Counts">{bar}<div class="tiles">{tiles}</div>'
        f'<details class="meanings"><summary>What the verdicts mean</summary><dl>{meanings}</dl>'
        f"</details>{_unasked(run)}</section>"
    )


def _first(run: Run) -> str:
    """What fails the run, before all that does not."""
    failing = [result for result in run.results if run.fails(result)]
    if not failing:
        return ""
    listed = "".join(
        f'<li>{_tag(result.verdict)}<div><a href="#{_anchor(result.case)}">'
        f"{_breakable(result.case.name)}</a><p>{escape(result.case.requirement)}</p>"
        f'<p class="quiet">{escape(_short(_what(result), 240))}</p></div>'
        for result in failing[:MOST_FIRST]
    )
    beside = (
        f'<p><button type="button" class="all" data-verdict="failing">All {len(failing)}, in the '
        "list</button></p>"
        if len(failing) > MOST_FIRST
        else ""
    )
    return f'<section><h2>What fails this run</h2><ol class="first">{listed}</ol>{beside}</section>'


def _what(result: Result) -> str:
    return f"{'Seen: ' if result.seen is not None else ''}{one_line(said(result))}"


def _unasked(run: Run) -> str:
    """Why cases could not be asked, the commonest reason first."""
    reasons = Counter(
        one_line(said(result)) for result in run.results if result.verdict is Verdict.UNSUPPORTED
    )
    if not reasons:
        return ""
    listed = "".join(
        f"<div><dt>{_plural(count, 'case')}</dt><dd>{escape(_short(reason, 240))}</dd></div>"
        for reason, count in reasons.most_common()
    )
    return (
        '<details class="meanings"><summary>Why cases could not be asked</summary>'
        f"<dl>{listed}</dl></details>"
    )


def _stacked(counts: Counter[Verdict]) -> Iterable[tuple[Verdict, int]]:
    before = 0
    for verdict in Verdict:
        if counts[verdict]:
            yield verdict, before
            before += counts[verdict]


def _tag(verdict: Verdict, more: str = "") -> str:
    return (
        f'<span class="tag {verdict.value}"><i aria-hidden="true">{SIGNS[verdict]}</i>'
        f"{verdict.value}{escape(more)}</span>"
    )


def _profiles(run: Run) -> str:
    present = [verdict for verdict in Verdict if run.counts[verdict]]
    heads = "".join(f'<th scope="col">{_tag(verdict)}</th>' for verdict in present)
    rows = []
    for profile in Profile:
        counts = Counter(
            result.verdict for result in run.results if profile in result.case.profiles
        )
        if not counts:
            continue
        cells = "".join(_cell(profile, verdict, counts[verdict]) for verdict in present)
        rows.append(
            f'<tr><th scope="row">{profile.value}</th>{cells}<td>{counts.total()}</td></tr>'
        )
    return (
        '<section><h2>By profile</h2><p class="quiet">A case may belong to several. The numbers '
        'lead to their cases.</p><div class="wide"><table class="matrix"><thead><tr>'
        f'<th scope="col">profile</th>{heads}<th scope="col">all</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _cell(profile: Profile, verdict: Verdict, count: int) -> str:
    if not count:
        return '<td class="none">·</td>'
    return (
        f'<td class="{verdict.value}"><button type="button" data-profile="{profile.value}" '
        f'data-verdict="{verdict.value}">{count}</button></td>'
    )


def _groups(run: Run) -> str:
    groups: dict[str, list[Result]] = {}
    for result in run.results:
        groups.setdefault(group(result.case), []).append(result)
    rows = []
    for name, results in sorted(groups.items(), key=lambda item: _numbers_first(item[0])):
        counts = Counter(result.verdict for result in results)
        told = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict, _ in _stacked(counts))
        marks = "".join(
            f'<a class="mark {result.verdict.value}" href="#{_anchor(result.case)}" '
            f'title="{escape(result.case.name)}: {result.verdict.value}">'
            f"{SIGNS[result.verdict]}</a>"
            for result in results
        )
        rows.append(
            f'<div class="group"><h3>{escape(name)}</h3><div class="marks">{marks}</div>'
            f'<p class="quiet">{told}</p></div>'
        )
    return (
        '<section><h2>By source</h2><p class="quiet">Each mark is a case, in the order of its '
        f'section.</p><div class="groups">{"".join(rows)}</div></section>'
    )


def _numbers_first(name: str) -> tuple[int, str]:
    """RFCs by number, then the rest."""
    number = re.match(r"RFC (\d+)", name)
    return (int(number[1]) if number else 1 << 20, name)


def _list(run: Run) -> str:
    present = [verdict for verdict in Verdict if run.counts[verdict]]
    profiles = [
        profile
        for profile in Profile
        if any(profile in result.case.profiles for result in run.results)
    ]
    levels = sorted({result.case.level.value for result in run.results})
    extra = {"failing": "fails the run", "attention": "not well"}
    verdicts = {**extra, **{each.value: each.value for each in present}}
    form = (
        '<form><label>Find <input name="text" type="search" autocomplete="off" '
        'placeholder="a name, a word, an id"></label>'
        + _select("Verdict", "verdict", verdicts)
        + _select("Profile", "profile", {each.value: each.value for each in profiles})
        + _select("Level", "level", {each: each for each in levels})
        + '<button type="reset">Clear</button><output class="quiet"></output></form>'
    )
    columns = {"name": "case", "level": "level", "profile": "profiles", "verdict": "verdict"}
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button" data-sort="{key}">{head}'
        "</button></th>"
        for key, head in columns.items()
    )
    rows = "".join(_row(run, result) for result in run.results)
    return (
        f'<section id="cases"><h2>Cases</h2>{form}<table class="cases"><thead><tr>{heads}'
        f'<th scope="col">seen</th></tr></thead><tbody>{rows}</tbody></table>'
        '<p class="nothing" hidden>No case fits.</p></section>'
    )


def _select(label: str, name: str, choices: dict[str, str]) -> str:
    options = "".join(
        f'<option value="{escape(key)}">{escape(text)}</option>' for key, text in choices.items()
    )
    return (
        f'<label>{label} <select name="{name}"><option value="">any</option>{options}'
        "</select></label>"
    )


def _row(run: Run, result: Result) -> str:
    case = result.case
    known = run.known(result)
    seen = one_line(said(result))
    more = " · known" if known is not None else ""
    rank = list(Verdict).index(result.verdict)
    marks = [result.verdict.value]
    marks += [] if run.well(result) else ["attention"]
    marks += ["failing"] if run.fails(result) else []
    profiles = " ".join(profile.value for profile in case.profiles)
    words = " ".join([case.requirement, *case.requirements, *case.traps])
    return (
        f'<tr data-verdict="{" ".join(marks)}" data-rank="{rank}" '
        f'data-profile="{profiles}" data-level="{case.level.value}" data-words="{escape(words)}">'
        f'<td><a href="#{_anchor(case)}">{_breakable(case.name)}</a></td>'
        f"<td>{case.level.value}</td><td>{escape(profiles).replace(' ', ', ')}</td>"
        f"<td>{_tag(result.verdict, more)}</td><td>{escape(_short(seen))}</td></tr>"
    )


def _short(text: str, room: int = 160) -> str:
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def _anchor(case: Case) -> str:
    return escape(f"case-{case.name}")


def _breakable(name: str) -> str:
    """A long name that may be broken behind its joints, and is copied without the breaks."""
    return re.sub(r"([/-])(?=.)", r"\1<wbr>", escape(name))


# --- a case ---------------------------------------------------------------------------------------


def _case(run: Run, results: tuple[Result, ...], index: int, capture: str | None) -> str:
    result = results[index]
    case, known = result.case, run.known(result)
    mark = " · known" if known is not None else ""
    facts = [
        ("Level", escape(case.level.value)),
        ("Source", _source(case)),
        ("Requirements", _codes(case.requirements)),
        ("Met in the field", "<br>".join(escape(f"{each}: {TRAPS[each]}") for each in case.traps)),
        ("Profiles", escape(", ".join(profile.value for profile in case.profiles))),
        ("Sent", escape(case.sends)),
        ("Right would be", _vocabulary(case.good)),
        ("Let pass", _vocabulary(case.lenient)),
    ]
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts if value
    )
    known_note = (
        f'<p class="known"><b>Known failure.</b> {escape(one_line(known.reason))}</p>'
        if known is not None
        else ""
    )
    return (
        f'<article class="case" id="{_anchor(case)}">{_navigation(results, index)}'
        f'<header><p class="kicker">{escape(group(case))}</p><h1>{_breakable(case.name)}</h1>'
        f'<p class="requirement">{escape(case.requirement)}</p></header>'
        f'<div class="seen {result.verdict.value}">{_tag(result.verdict, mark)}'
        f"{_seen(result)}</div>"
        f'{known_note}<dl class="facts">{listed}</dl>{_rerun(run, result)}'
        f"{_traffic(result, capture)}</article>"
    )


def _navigation(results: tuple[Result, ...], index: int) -> str:
    def step(to: int, label: str, key: str) -> str:
        if not 0 <= to < len(results):
            return f'<span class="quiet">{label}</span>'
        other = results[to].case
        return f'<a href="#{_anchor(other)}" rel="{key}" title="{escape(other.name)}">{label}</a>'

    return (
        '<nav><a href="#overview" rel="up">All cases</a>'
        f"{step(index - 1, '← Previous', 'prev')}{step(index + 1, 'Next →', 'next')}</nav>"
    )


def _source(case: Case) -> str:
    if case.link is None:
        return escape(case.source)
    return f'<a href="{escape(case.link)}">{escape(case.source)}</a>'


def _codes(ids: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(each)}</code>" for each in ids)


def _vocabulary(members: Iterable[object]) -> str:
    return escape(", or ".join(str(getattr(member, "value", member)) for member in members))


def _seen(result: Result) -> str:
    value = "" if result.seen is None else escape(plain(str(result.seen.value)))
    seen = f"<p>Seen: <b>{value}</b></p>" if value else ""
    detail = plain(result.detail)
    if not detail:
        return seen or f"<p>{escape(MEANINGS[result.verdict])}</p>"
    tag = "pre" if "\n" in detail else "p"
    return f"{seen}<{tag}>{escape(detail)}</{tag}>"


def _rerun(run: Run, result: Result) -> str:
    command = escape(one_line(run.rerun(result)))
    return (
        f'<div class="rerun"><h2>Ask again</h2><div><code>{command}</code>'
        '<button type="button" class="copy">Copy</button></div></div>'
    )


def _traffic(result: Result, capture: str | None) -> str:
    sent, received = crossings(result)
    if not sent + received:
        notes = [row.text for row in tell(result).rows if isinstance(row, Remark)]
        beside = f" Noted: {escape('; '.join(notes))}." if notes else ""
        return f'<p class="quiet">No datagram was sent or received.{beside}</p>'
    account = tell(result)
    shown = len(account.datagrams)
    beside = f"; {shown} are shown" if shown < sent + received else ""
    downloads = (
        '<span class="downloads"><a class="download" data-what="capture" '
        f'download="{escape(file_name(result.case.name))}.pcapng">Capture (pcapng'
        f"{', with its keys' if result.trail.secrets else ''})</a>"
        if capture is not None
        else '<span class="downloads quiet">The capture was not kept; --keep-all keeps it.'
    )
    if capture is not None and result.trail.secrets:
        downloads += (
            '<a class="download" data-what="keys" '
            f'download="{escape(file_name(result.case.name))}.keys">Key log</a>'
        )
    kept = (
        "" if capture is None else f'<script type="text/plain" class="capture">{capture}</script>'
    )
    return (
        f'<section class="traffic"><h2>What crossed</h2><p class="quiet">{sent} sent, {received} '
        f"received{beside}.</p><p>{downloads}</span></p>"
        '<div class="packets"><p class="quiet">The datagrams are unpacked by the page\'s script, '
        "which has not run.</p></div>"
        f'<script type="text/plain" class="packed">{_packed(_packets(result, account))}</script>'
        f"{kept}</section>"
    )


def _packets(result: Result, account: Account) -> str:
    seen = one_line(said(result))
    picture = draw(
        account,
        verdict=result.verdict.value,
        seen=f"{result.verdict.value}: {seen}" if seen else result.verdict.value,
        title=f"{len(account.datagrams)} datagrams in the order in which they crossed; the table "
        "below says the same in words",
    )
    names = [lane.title for lane in account.lanes]
    rows = "".join(_told(row, names) for row in account.rows)
    more = f'<p class="quiet">… {account.left_out} more.</p>' if account.left_out else ""
    return (
        f'<div class="wide">{picture}</div><h2>Datagrams</h2><div class="wide">'
        '<table class="datagrams"><thead><tr><th scope="col">no.</th><th scope="col">seconds</th>'
        '<th scope="col">way</th><th scope="col">what it says</th><th scope="col">bytes</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _told(row: Told | Remark, names: list[str]) -> str:
    if isinstance(row, Remark):
        body = f"<pre>{escape(row.body)}</pre>" if row.body else ""
        text = f"<details><summary>{escape(row.text)}</summary>{body}</details>" if body else ""
        return (
            f'<tr class="remark"><td></td><td>{row.at:.3f}</td>'
            f'<td colspan="3">{text or escape(row.text)}</td></tr>'
        )
    number = (
        f'<button type="button" data-packet="{row.number}" aria-expanded="false" '
        f'title="Show its bytes">{row.number}</button>'
        if row.number is not None
        else ""
    )
    note = f' <span class="called">{escape(row.note)}</span>' if row.note else ""
    return (
        f'<tr class="{"sent" if row.sent else "received"}"><td>{number}</td><td>{row.at:.3f}</td>'
        f"<td>{escape(names[row.source])} → {escape(names[row.destination])}</td>"
        f"<td>{escape(row.text)}{note}</td><td>{row.size}</td></tr>"
    )


# --- what is packed -------------------------------------------------------------------------------


def _packed(data: str | bytes) -> str:
    """Zlib's form in base64: what the script's ``DecompressionStream`` calls deflate."""
    raw = data.encode() if isinstance(data, str) else data
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def _captures(run: Run, *, keep_all: bool) -> dict[str, str]:
    """Packed captures by name of case, as many as there is room for."""
    packed = {
        result.case.name: _packed(pcapng(result.trail, run.began))
        for result in run.results
        if sum(crossings(result))
    }
    if keep_all:
        return packed
    order = sorted(
        (result for result in run.results if result.case.name in packed),
        key=lambda result: (run.well(result), len(packed[result.case.name]), result.case.name),
    )
    kept: dict[str, str] = {}
    room = MOST_CAPTURES
    for result in order:
        room -= len(packed[result.case.name])
        if room < 0:
            break
        kept[result.case.name] = packed[result.case.name]
    return kept
