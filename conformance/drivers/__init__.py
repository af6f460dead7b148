"""Drivers whose time is virtual: our own cores as the server or relay that is asked.

``memory`` has the endpoint bare, and behind the real relay with a network that takes its time;
``relay`` has the relay alone, with the harness on both sides; ``virtual`` is the wire of them all.
A case takes milliseconds here, however long it waits. Real sockets are ``conformance.blackbox``.
"""
