"""Replays and judges what the relay and the transceiver, or anybody else's, do on the wire.

``recorder`` writes a call as it happens: a ``capture`` of the client's leg and a ``sidecar`` with
everything else that went in. ``replay`` feeds both to fresh cores and compares every byte that
comes out. ``story`` says in words what a packet is, and ``golden`` keeps such a story beside a
recording. Only ``capture`` imports Scapy, which is GPL-2.0.
"""
