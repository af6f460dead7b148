"""Audio that means nothing: what the tools of several layers send to see where it comes out.

In a module of its own, for none of these layers builds on another.
"""

OPUS_SILENCE = b"\xf8\xff\xfe"
"""A packet of 20 ms without sound."""
STEP = 960
"""Of the timestamp, from packet to packet: 20 ms at 48 kHz."""
