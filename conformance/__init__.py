"""Replays and judges what the relay and the transceiver, or anybody else's, do on the wire."""
