"""What operators see of a running relay, and how: metrics, health, the admin socket, ``top``.

All of it shows one picture (``stunroute.status``), taken of the workers once a second by the
supervisor's process, whoever asks and however often: to look costs the forwarding nothing. Nothing
here holds a key, and clients' addresses leave only by the admin socket, which is its owner's.
"""
