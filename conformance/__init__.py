"""Asks anybody's server or relay whether it does on the wire what the RFCs and the field demand.

**The suite.** Everything turns on the ``case``: one question, what it sends, a closed vocabulary of
what may be seen, and an oracle that says of each word whether it is right. A case plays on a
``stage`` (or a ``relay_stage``, where it has both sides to play), and a stage stands on a ``wire``:
sockets and a clock. ``runner`` asks one case on one stage and makes a ``Result`` of whatever
happens; ``trail`` is what crossed the wire meanwhile, ``expectations`` the failures that somebody
has looked at and lives with, ``traps`` what was met in the field and stands in no RFC.
``catalogue`` finds the cases, which are listed nowhere.

The same case runs with three drivers, and cannot tell which: in ``drivers`` our own cores stand at
the other end in virtual time, bare (``memory``) or behind the real relay and a network that takes
its time (``simulator``); in ``blackbox`` there are real sockets and a program that somebody else
wrote (``udp``). Where a driver cannot ask, the case says so, with the reason.

**The words.** Who is asked is a *server*, or a *relay*; where either is meant, an
*implementation*. On our side a *client* behaves, a *puppet* says what a case tells it to, and a
*node* stands behind a relay. A *peer* is a server that others have written and ``peers`` can start;
within a protocol it is whoever is at the other end. Steps tell what was *seen*, an oracle makes a
*verdict* of it; nothing else *judges*, but people do (``peers.judging``). An answer that ought to
come and does not is *silence*; a server that answers nothing any more is *dead*.

**The rooms.** ``cases`` are the questions, and its docstring says how to write one; ``probe`` is
what they play with, layer by layer, each able to misbehave; ``client`` is a client that behaves.
``report`` tells what came out, ``commands`` is the command line. ``cite`` holds the cases, the
tests and the code against ``requirements``, the list of what the RFCs demand. ``mutants`` are
servers broken on purpose, which shows that cases can fail; ``peers`` starts servers that others
have written, which shows that cases are fair.

**What goes beyond cases.** ``sim`` lets the real cores run for hours of virtual time among faults,
``load`` does the same to a live server, ``fuzz`` throws bytes at whatever reads them.

**Recordings.** ``recorder`` writes a call as it happens: a ``capture`` of the client's leg and a
``sidecar`` with everything else that went in. ``replay`` feeds both to fresh cores and compares
every byte that comes out. ``story`` says in words what a packet is, and ``golden`` keeps such a
story beside a recording. Only ``capture`` imports Scapy, which is GPL-2.0.
"""
