"""What cases play with.

``call`` opens calls and keeps them up with the harness's own client; ``stun`` asks single
questions. Each layer has tools that can misbehave on purpose, message by message, because a client
that only behaves finds nothing.
"""
