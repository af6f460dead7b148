"""What cases play with, layer by layer.

A client that only behaves finds nothing, so each layer has tools that can misbehave message by
message, and that do everything else right: what a case changes is then the only thing wrong.

``call`` opens calls and keeps them up with the harness's own client, ``renewal`` gives them new
credentials, ``ways`` says where a server sends. ``stun`` asks single questions, ``stun_draft``
writes messages that no builder would write, ``stun_questions`` makes cases of them. ``demux`` has
datagrams that are one thing or another by their first byte. The DTLS puppet is ``dtls`` with its
two roles, ``dtls_client`` and ``dtls_server``; ``dtls_hello``, ``dtls_wire`` and ``dtls_identity``
are what it says, how it is packed and who it is, ``dtls_pulse`` whether an association lives.
``media`` is SRTP and SRTCP, ``sctp`` and ``sctp_opening`` chunks inside DTLS. ``sdp`` reads
answers, ``sdp_changes`` changes offers, ``http`` is signalling itself. ``routing`` and ``hints``
are for relays. ``look``, ``audio`` and ``profiles`` are shared by all.

Vocabularies of outcomes stand with the tool that sees them, and so do the oracles that several
cases share: ``NOT_`` before a name is everything else.
"""
