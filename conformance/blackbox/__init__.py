"""Cases over real sockets, against a program that somebody else wrote.

Polite by construction: a wire sends to no address that the command line did not lead to (a URL on
this machine leads to all its addresses, since a server on loopback names another one), no faster
than its rate and no longer than its time; signalling goes to one origin. What a server answers is
read with the same ``_untrusted`` functions as everything else from a network.
"""
