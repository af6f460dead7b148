"""A UDP relay that routes WebRTC by the ICE ufrag.

``relay.Relay`` is the core, without sockets or a clock; ``udp.server.RelayServer`` runs it under
asyncio, ``udp.supervisor.Supervisor`` runs some of those as processes on one port, and
``stunroute relay --config FILE`` runs that. ``settings`` documents the file. ``store`` is what
relays share, ``operations`` what operators see. The codec
(``stun``), the hint (``hint``) and the header of the inner leg (``forward``) serve the other side
of the leg as well.
"""
