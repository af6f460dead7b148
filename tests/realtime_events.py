"""What the tests of the Realtime protocol share: JSON of every kind, and the public models."""

from typing import Any

from hypothesis import strategies as st

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["server_vad", "realtime", "auto", "inf", "audio", "audio/pcm", "message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "input", "output", "turn_detection", "format", "voice", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
"""JSON that is nearly what the protocol means."""

JsonObject = dict[str, Any]
