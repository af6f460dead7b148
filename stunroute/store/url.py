"""Which store, from its URL.

The URL may hold a password, so no message quotes any of it. What redis-py would read from one
reaches into all of its settings (a timeout, say, that nobody here could rely on any more), so it is
read here, and of its options only those that say how to get in.

::

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]
    unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]
    redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DATABASE]
    redis+cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]

``rediss`` in place of ``redis`` means TLS, with the options ``ssl_ca_certs``, ``ssl_certfile``,
``ssl_keyfile`` (paths) and ``ssl_check_hostname=false``. Sentinels have credentials of their own:
``sentinel_username``, ``sentinel_password``. An IPv6 address stands in brackets. What is no letter,
digit or one of ``-._~`` in a user, password or path is percent-encoded.
"""

import re
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote

from attrs import field, frozen

from stunroute.config import redacted
from stunroute.errors import ConfigError

KEY = "store.url"
PORT = 6379
SENTINEL_PORT = 26379

_URL = re.compile(
    r"(?P<scheme>(?P<redis>rediss?)(?P<kind>\+sentinel|\+cluster)?|unix)://"
    r"(?:(?P<user>[^/?#@:]*):(?P<password>[^/?#@]*)@)?"
    r"(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<options>[^#]*))?"
)
_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?"
)
_TLS_OPTIONS = frozenset(["ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"])
_SENTINEL_OPTIONS = frozenset(["sentinel_username", "sentinel_password"])

Host: TypeAlias = tuple[str, int]


@frozen(slots=True)
class Tls:
    """Paths of PEM files; None for the system's authorities and for no certificate of ours."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    check_hostname: bool = True


@frozen(slots=True)
class Login:
    username: str | None = None
    password: str | None = field(default=None, repr=redacted)


@frozen(slots=True)
class Single:
    host: Host
    database: int
    login: Login
    tls: Tls | None


@frozen(slots=True)
class Unix:
    path: str
    database: int
    login: Login


@frozen(slots=True)
class Sentinels:
    """``service`` is what the sentinels call the servers they watch."""

    hosts: tuple[Host, ...]
    service: str
    database: int
    login: Login
    sentinel_login: Login
    tls: Tls | None


@frozen(slots=True)
class Cluster:
    hosts: tuple[Host, ...]
    login: Login
    tls: Tls | None


Endpoint: TypeAlias = Single | Unix | Sentinels | Cluster


def parse(url: str) -> Endpoint:
    """Raises ConfigError for ``store.url``, which quotes nothing of it."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigError(
            KEY,
            "is none of redis://, rediss://, unix://, redis+sentinel:// and redis+cluster://, or"
            " not written as such: percent-encode what is special in a user, password or path",
        )
    kind = found["kind"]
    login = Login(unquote(found["user"] or "") or None, unquote(found["password"] or "") or None)
    path = unquote(found["path"] or "")
    if found["scheme"] == "unix":
        options = _options(found["options"], frozenset(["db"]))
        if found["hosts"] or len(path) < 2:
            raise ConfigError(KEY, "names no absolute path: unix:///run/redis.sock")
        return Unix(path, _database(options.get("db", "")), login)
    is_tls = found["redis"] == "rediss"
    allowed = _TLS_OPTIONS if is_tls else frozenset()
    if kind == "+sentinel":
        allowed |= _SENTINEL_OPTIONS
    options = _options(found["options"], allowed)
    tls = _tls(options) if is_tls else None
    hosts = _hosts(found["hosts"], SENTINEL_PORT if kind == "+sentinel" else PORT)
    parts = path.strip("/").split("/")
    if kind == "+sentinel":
        if not parts[0] or len(parts) > 2:
            raise ConfigError(KEY, "names no service behind the sentinels: HOST:PORT/SERVICE")
        database = _database(parts[1] if len(parts) == 2 else "")
        own = Login(options.get("sentinel_username"), options.get("sentinel_password"))
        return Sentinels(hosts, parts[0], database, login, own, tls)
    if kind == "+cluster":
        if parts != [""]:
            raise ConfigError(KEY, "names a database, and a cluster has only one")
        return Cluster(hosts, login, tls)
    if len(hosts) != 1 or len(parts) != 1:
        raise ConfigError(KEY, "names more than a host, a port and a database")
    return Single(hosts[0], _database(parts[0]), login, tls)


def _options(text: str | None, allowed: frozenset[str]) -> dict[str, str]:
    options = dict(parse_qsl(text or "", keep_blank_values=True))
    if not allowed.issuperset(options):
        known = f"other than {', '.join(sorted(allowed))}" if allowed else "and takes none"
        raise ConfigError(KEY, f"has an option {known}")
    return options


def _tls(options: dict[str, str]) -> Tls:
    check = options.get("ssl_check_hostname", "true").lower()
    if check not in ("true", "false"):
        raise ConfigError(KEY, "has an ssl_check_hostname that is neither true nor false")
    return Tls(
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
        check == "true",
    )


def _hosts(text: str, port: int) -> tuple[Host, ...]:
    hosts = []
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        number = int(found["port"] or port) if found else 0
        if found is None or not 0 < number < 65536:
            raise ConfigError(KEY, "names no host, or one that is not HOST or HOST:PORT")
        hosts.append((unquote(found["ipv6"] or found["name"]), number))
    return tuple(hosts)


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise ConfigError(KEY, "has a database that is not a number")
    return int(text or 0)
