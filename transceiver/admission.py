"""Making the session of a call that is let in.

What an offer and this transceiver's settings come to: credentials, an answer, and the parts of a
session, each with its limits and with the call's own entropy. Nothing here remembers a call; the
endpoint keeps those.
"""

from collections.abc import Container

from attrs import define, evolve, field

from stunroute.hint import Hint, HintError, KeyRing
from stunroute.instant import Entropy, Instant

from . import datachannel, dtls, ice, negotiation, sdp
from .audio import AudioStream
from .config import EndpointConfig
from .errors import AtCapacity, OfferError
from .events import EVENTS_CHANNEL
from .sctp import Association
from .session import Marks, Session


@define(slots=True, eq=False)
class Admission:
    """Opens calls under ``config``, with the keys of ``keyring``, as ``identity``."""

    config: EndpointConfig
    keyring: KeyRing = field(repr=False)
    identity: dtls.Identity = field(repr=False)

    def admit(
        self,
        description: sdp.Description,
        draw: Entropy,
        now: Instant,
        *,
        taken: Container[bytes],
        channel: int | None,
    ) -> tuple[Session, str]:
        """A session for an offer, and the SDP answer. ``taken`` holds the ufrags in use;
        ``channel`` is the number of a negotiated events channel. Raises OfferError, AtCapacity."""
        local = self.mint(draw, now, taken)
        ssrc = int.from_bytes(draw(4), "big")
        cname = draw(9).hex()
        session_id = int.from_bytes(draw(8), "big") >> 2  # RFC 8829, 5.2.1: 62 bits
        settled = negotiation.negotiate(description, self._describe(local, ssrc, cname, session_id))
        codec = settled.codec
        call = f"rtc_{local.ufrag.decode()}"
        session = Session(
            call=call,
            negotiated=evolve(settled, answer=sdp.Description()),
            agent=ice.IceLite(local=local, remote=settled.remote, limits=self.config.ice),
            connection=dtls.DtlsConnection(
                role=settled.role,
                identity=self.identity,
                fingerprints=settled.fingerprints,
                entropy=draw,
                limits=self.config.dtls,
                srtp_required=codec is not None,
            ),
            audio=AudioStream(
                call=call,
                codec=codec.name if codec else "",
                payload_type=codec.payload_type if codec else 0,
                clock_rate=codec.clock_rate if codec else 8000,
                ssrc=ssrc,
                cname=cname,
                entropy=draw,
                limits=self.config.session,
            ),
            config=self.config,
            marks=Marks(now),
            data=self.channels(settled, draw, channel),
        )
        session.audio.belongs_to(settled.mid, settled.mid_extension_id)
        return session, str(settled.answer)

    def channels(
        self, settled: negotiation.Negotiated, draw: Entropy, channel: int | None = None
    ) -> datachannel.DataChannels | None:
        """What carries the call's data channels, where it has a section for them."""
        agreed = settled.data
        if agreed is None:
            return None
        if channel is not None and channel >= self.config.sctp.streams:
            problem = f"channel {channel} is beyond the {self.config.sctp.streams} there are"
            raise OfferError(problem, param="dcid")
        association = Association(
            entropy=draw, limits=self.config.sctp, destination_port=agreed.port
        )
        return datachannel.DataChannels(
            association,
            dtls_client=settled.role is dtls.Role.CLIENT,
            max_message_size=agreed.max_message_size,
            limits=self.config.channel,
            negotiated=() if channel is None else ((channel, EVENTS_CHANNEL),),
        )

    def mint(self, draw: Entropy, now: Instant, taken: Container[bytes]) -> ice.Credentials:
        """Credentials whose ufrag is not ``taken``. Raises AtCapacity where the keys to make them
        with are no longer, or not yet, to be used."""
        while True:
            try:
                text = self.keyring.mint(self.config.cluster, self.config.node, draw, now)
            except HintError:
                problem = "this transceiver has no key to take calls with at the moment"
                raise AtCapacity(problem, self.config.retry_after) from None
            ufrag = text.encode()
            if ufrag not in taken:
                return ice.Credentials(ufrag, self.keyring.password(ufrag))

    def hint(self, ufrag: bytes, now: Instant) -> Hint | None:
        """What a ufrag says in clear, None where our keys cannot read it."""
        hint = self.keyring.decode_untrusted(ufrag, now)
        return hint if isinstance(hint, Hint) else None

    def _describe(
        self, credentials: ice.Credentials, ssrc: int, cname: str, session_id: int
    ) -> negotiation.LocalDescription:
        return negotiation.LocalDescription(
            ufrag=credentials.ufrag.decode(),
            password=credentials.password.decode(),
            fingerprint=self.identity.fingerprint,
            candidates=self.config.candidates,
            codecs=self.config.codecs,
            session_id=session_id,
            ssrc=ssrc,
            cname=cname,
            max_message_size=self.config.sctp.message,
            data=self.config.data,
        )
