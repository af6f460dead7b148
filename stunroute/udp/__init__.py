"""Sockets, a clock and processes for the relay's core.

From the packet outwards: ``batch`` moves many datagrams in a system call; a ``lane`` is a socket
that is read in batches, with the answers that are known for what arrives there; ``batched`` is the
adapter made of lanes, and ``plain`` the one for platforms that lack the calls. ``server`` puts an
adapter around the core: one worker. ``worker`` is that as a process, and ``supervisor`` keeps the
sockets (``sockets``) and the workers, over a ``channel`` to each.
"""
