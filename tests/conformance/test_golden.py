"""What a trace tells of data channels, whose packets show nothing."""

import json

import pytest

from conformance.golden import Trace, render
from conformance.replay import Agreed, DataEvent, Exact, Happened
from transceiver.events import ChannelClosed, ChannelOpened, DataEnded, MessageReceived

CALL = "rtc_x"


@pytest.mark.parametrize(
    ("event", "text", "detail"),
    [
        (
            ChannelOpened(CALL, 1, "oai-events", "", True, False),
            'channel 1 opened, "oai-events"',
            {"channel": 1, "label": "oai-events", "ordered": True, "negotiated": False},
        ),
        (
            ChannelOpened(CALL, 0, "a\n\x1b[2J\u202e", "p", False, True),
            'channel 0 opened, "a\\n\\u001b[2J\\u202e", unordered, negotiated',
            {"channel": 0, "label": "a\n\x1b[2J\u202e", "ordered": False, "negotiated": True},
        ),
        (
            MessageReceived(CALL, 2, "grüß"),
            "text message of 6 bytes on channel 2",
            {"channel": 2, "message": "text", "length": 6},
        ),
        (
            MessageReceived(CALL, 2, b""),
            "binary message of 0 bytes on channel 2",
            {"channel": 2, "message": "binary", "length": 0},
        ),
        (ChannelClosed(CALL, 3), "channel 3 closed", {"channel": 3}),
        (DataEnded(CALL, "aborted"), "no more data channels: aborted", {}),
    ],
)
def test_data_in_a_trace(event: DataEvent, text: str, detail: dict[str, object]) -> None:
    """One line, whatever a client calls its channel, and nothing of what a message says."""
    trace = Trace()
    trace(Agreed(1, 0.5, "AEAD_AES_128_GCM"))
    trace(Happened(2, 1.0, event))
    line = trace.lines[1]
    assert (line.number, line.kind, line.text, line.detail) == (None, "data", text, detail)
    assert "\n" not in str(line)
    told = json.loads(render(trace, Exact(2, 0, 0))[1])
    assert told["kind"] == "data"
    assert detail.items() <= told.items()
