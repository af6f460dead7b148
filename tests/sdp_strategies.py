"""Session descriptions for tests: the offers under ``transceiver/offers``, ones made up from
nothing, and ones spoilt."""

from pathlib import Path

from hypothesis import strategies as st

from transceiver.sdp import Description, Line, Media

OFFERS = {
    path.stem: path.read_bytes().decode()
    for path in sorted((Path(__file__).parent / "transceiver" / "offers").glob("*.sdp"))
}
"""What clients offer, by name, as text with the line ends they use."""

numbers = st.sampled_from(["0", "1", "-1", "65536", "4294967296", "9" * 40, "9" * 5000, "٣", "1e3"])
"""Numbers at and beyond the borders of the fields they may land in."""

values = st.text(st.characters(exclude_characters="\x00\r\n", exclude_categories=["Cs"]))
words = st.text(
    st.characters(exclude_characters="\x00\r\n ", exclude_categories=["Cs"]), min_size=1
)
_letters = st.sampled_from("abcdefghijklnopqrstuvwxyz")  # without m: that one opens a section
lines = st.lists(st.builds(Line, _letters, values), max_size=6).map(tuple)


@st.composite
def media(draw: st.DrawFn) -> Media:
    """Any media section that can be written down."""
    return Media(
        draw(lines),
        kind=draw(words),
        port=draw(st.integers(0, 65535)),
        ports=draw(st.integers(0, 65535)),
        protocol=draw(words),
        formats=tuple(draw(st.lists(words, min_size=1, max_size=4))),
    )


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    """Any description that can be written down."""
    head = (
        Line("v", "0"),
        Line("o", f"- {draw(st.integers(0, 2**64 - 1))} 1 IN IP4 0.0.0.0"),
        Line("s", draw(values)),
    )
    sections = tuple(draw(st.lists(media(), max_size=3)))
    return Description(head + draw(lines), media=sections)


@st.composite
def spoilt_offers(draw: st.DrawFn) -> str:
    """A real offer after a few accidents."""
    text = draw(st.sampled_from(sorted(OFFERS.values())))
    for _ in range(draw(st.integers(1, 4))):
        rows = text.split("\n")
        at = draw(st.integers(0, len(rows) - 1))
        match draw(st.integers(0, 6)):
            case 0:
                del rows[at]
            case 1:
                rows.insert(at, rows[draw(st.integers(0, len(rows) - 1))])
            case 2:
                rows[at] = rows[at][: draw(st.integers(0, len(rows[at])))]
            case 3:
                rows[at] = draw(st.text(max_size=20))
            case 4:
                cut = draw(st.integers(0, len(rows[at])))
                rows[at] = rows[at][:cut] + draw(st.text(max_size=4)) + rows[at][cut + 1 :]
            case 5:
                parts = rows[at].split(" ")
                parts[draw(st.integers(0, len(parts) - 1))] = draw(numbers)
                rows[at] = " ".join(parts)
            case _:
                name, colon, _ = rows[at].partition(":")
                rows[at] = name + colon + draw(numbers)
        text = "\n".join(rows) or "v"
    return text
