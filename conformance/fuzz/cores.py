"""The cores as targets. Each is in a module of its own, which is imported when the target is made:
only then is what it tests imported where it is instrumented."""

from .target import Run, Table

TABLE = Table()


@TABLE.target("core.relay", seeds="relay-row", length=1600, weight=3.0, operations=True)
def _relay() -> Run:
    from . import cores_relay

    return cores_relay.make()


@TABLE.target("core.dtls-client", seeds="dtls-row", length=1600, weight=2.0, operations=True)
def _dtls_client() -> Run:
    from transceiver.dtls import Role

    from . import cores_dtls

    return cores_dtls.make(Role.CLIENT)


@TABLE.target("core.dtls-server", seeds="dtls-row", length=1600, weight=2.0, operations=True)
def _dtls_server() -> Run:
    from transceiver.dtls import Role

    from . import cores_dtls

    return cores_dtls.make(Role.SERVER)


@TABLE.target("core.sctp", seeds="sctp-row", length=1600, weight=2.0, operations=True)
def _sctp() -> Run:
    from . import cores_sctp

    return cores_sctp.associations()


@TABLE.target("core.channels", seeds="channel-row", length=1600, weight=2.0, operations=True)
def _channels() -> Run:
    from . import cores_sctp

    return cores_sctp.channels()


@TABLE.target("core.ice", seeds="ice-row", length=1200, weight=2.0, operations=True)
def _ice() -> Run:
    from . import cores_ice

    return cores_ice.make()


@TABLE.target("core.endpoint", seeds="call-row", length=1600, weight=3.0, operations=True)
def _endpoint() -> Run:
    from . import cores_endpoint

    return cores_endpoint.make()


@TABLE.target("core.negotiation", seeds="sdp", length=4000, weight=2.0)
def _negotiation() -> Run:
    from . import cores_call

    return cores_call.negotiation()


@TABLE.target("core.jitter", seeds="jitter-row", length=600, operations=True)
def _jitter() -> Run:
    from . import cores_call

    return cores_call.jitter()
