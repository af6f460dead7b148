"""Servers that are broken bluntly and by the hundred, to find cases that cannot fail.

A mutant is one mistake that somebody has made; a saboteur is one of a family that goes through a
protocol by the foot: silent from the n-th datagram, one line of the answer lost, one octet of a
message altered, one check left out. None has a case of its own and any number may notice. What they
are for is the other direction: a case that passes on all of them, and on all mutants, has most
likely no outcome that anybody's server could lead it to.

What tampers with datagrams and descriptions stands between our server and its wire or its door, and
works on a relay alike. What tampers inside swaps a function, and only for as long as the server has
its turn: the harness plays clients with the same cores, and they have to stay whole.

Each module makes families and lists them in ``SABOTEURS``; ``hunt.saboteurs`` finds them. All are
deterministic, and none makes a case last: clocks are virtual, and what repeats does so a few times.
"""
