"""STUN as ICE uses it (RFC 8489, RFC 8445): a codec without opinions.

It reads what is well-formed and writes what it is told; whether a message is acceptable is for
``transceiver.ice`` and the relay to say. Reading happens in three depths, each dearer than the
one before: ``peek_username_untrusted`` finds a route, ``decode_untrusted`` checks the structure,
and the properties of a ``Message`` read values.
"""

from .attributes import (
    Algorithm,
    NetworkCost,
    encode_address,
    encode_error_code,
    encode_network_cost,
    encode_password_algorithms,
    encode_text,
    encode_uint32,
    encode_uint64,
    encode_unknown_attributes,
    encode_username,
    encode_xor_address,
)
from .build import binding_error, binding_request, binding_success, build
from .header import (
    BINDING_REQUEST,
    BINDING_SUCCESS,
    HEADER_LENGTH,
    decode_type,
    encode_type,
    peek_username_untrusted,
)
from .integrity import IntegrityKey, checksum, long_term_key, userhash
from .message import Message, decode_untrusted
from .registry import (
    MAGIC_COOKIE,
    Attribute,
    ErrorCode,
    MessageClass,
    Method,
    PasswordAlgorithm,
    attribute_name,
)

__all__ = [
    "BINDING_REQUEST",
    "BINDING_SUCCESS",
    "HEADER_LENGTH",
    "MAGIC_COOKIE",
    "Algorithm",
    "Attribute",
    "ErrorCode",
    "IntegrityKey",
    "Message",
    "MessageClass",
    "Method",
    "NetworkCost",
    "PasswordAlgorithm",
    "attribute_name",
    "binding_error",
    "binding_request",
    "binding_success",
    "build",
    "checksum",
    "decode_type",
    "decode_untrusted",
    "encode_address",
    "encode_error_code",
    "encode_network_cost",
    "encode_password_algorithms",
    "encode_text",
    "encode_type",
    "encode_uint32",
    "encode_uint64",
    "encode_unknown_attributes",
    "encode_username",
    "encode_xor_address",
    "long_term_key",
    "peek_username_untrusted",
    "userhash",
]
