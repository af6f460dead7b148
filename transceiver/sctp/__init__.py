"""SCTP over DTLS (RFC 9260, RFC 8261), without a socket, a clock or a random device of its own."""
