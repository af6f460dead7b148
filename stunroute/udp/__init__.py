"""Sockets and a clock for the relay's core.

``plain`` is the asyncio adapter that runs anywhere asyncio does. What it does with a packet is
what any faster adapter has to do too.
"""
