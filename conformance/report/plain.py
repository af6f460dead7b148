"""Text of strangers, made fit to be shown.

What a case saw may quote a server: an error message, a line of SDP, a USERNAME. Terminals obey
escape sequences, XML refuses control characters, readers are misled by marks that turn a line
round, and passwords stay out of reports. So every such text goes through here, whatever it becomes
afterwards; what a format needs beyond (``&lt;``) is the format's.
"""

import re

_SECRETS = (
    re.compile(r"(?i)(ice-pwd:[ \t]*)[^\s\"',;\\]+"),
    re.compile(r"(?i)(\bauthorization:[ \t]*[a-z]+[ \t]+)[^\s\"',;\\]+"),
    re.compile(r"(?i)(\bbearer[ \t]+)[^\s\"',;\\]+"),
    re.compile(r"(?i)(//[^\s/:@]*:)[^\s/@]+(?=@)"),
)
_HIDDEN = "***"
_ODD = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\uffff\U0001fffe\U0001ffff]"
)


def plain(text: str) -> str:
    """``text`` without control characters other than tab and newline, marks of direction, invisible
    ones and halves of surrogates, which are shown as escapes; ICE passwords, bearer tokens and the
    passwords of URLs as three asterisks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<1>{_HIDDEN}", text)
    return _ODD.sub(_escaped, text)


def one_line(text: str) -> str:
    """The same without line ends."""
    return " ".join(plain(text).split())


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
