"""A UDP relay that routes WebRTC by the ICE ufrag.

``relay.Relay`` is the core, without sockets or a clock; ``udp.server.RelayServer`` runs it under
asyncio, and ``stunroute relay --config FILE`` runs that. ``settings`` documents the file. The codec
(``stun``), the hint (``hint``) and the header of the inner leg (``forward``) serve the other side
of the leg as well.
"""
