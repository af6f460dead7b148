"""What may be raised, and by whom.

Bytes from the network raise ``DecodeError`` and nothing else, only out of functions whose name
ends in ``_untrusted``; a core turns it into a ``Drop``. Settings that make no sense raise
``ConfigError``. Whatever else leaves a core is a caller's misuse of it.
"""

from attrs import frozen


class StunrouteError(Exception):
    """The root of this project's exceptions."""


class DecodeError(StunrouteError):
    """Bytes from the network that are not what they should be.

    ``str(error)`` says what was wrong in a few words and never quotes the bytes.
    """


@frozen(slots=True)
class ConfigError(StunrouteError):
    """A setting that is missing or makes no sense.

    ``key`` is its dotted name as in the configuration file (``hint.configurations.0.key``),
    ``problem`` a short clause that fits behind the name.
    """

    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"
