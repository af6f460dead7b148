"""From an offer and what we bring to an answer and a session's settings: one pure function.

Nothing is gathered, resolved or waited for. Our candidates are the relay's public addresses and
known beforehand; the client's are of no use to a lite agent, which learns where the client is from
its checks, so its candidate lines are not even read. That is why an offer without candidates, or
with only ``.local`` names, is as good as any.

One audio section is accepted, with exactly one codec, and one section for data channels; either may
be all there is. A call has one transport: data that is offered beside audio but not BUNDLEd with it
is rejected, and the audio taken. Everything else that the offer holds is rejected the way JSEP says
(RFC 8829, 5.3.1): port zero, in its place, out of the BUNDLE group.

A later offer in the same call (``renegotiate``) may restart ICE, change the direction of audio, add
data channels where there were none, and add other sections, which are rejected. It may not touch
what DTLS has already agreed on, the certificates and who is the client, nor what SCTP has; and it
cannot add audio to a call of data alone, which was set up without keys for it. A fragment (WHIP's
PATCH) may restart ICE alone.

``records`` is what goes in and comes out, ``offer`` reads, ``answer`` writes, ``fragment`` does
both for pieces of SDP.
"""

import hmac

from attrs import evolve

from transceiver.dtls import Role
from transceiver.errors import OfferError
from transceiver.ice import Credentials
from transceiver.sdp import Description, Source, read_all

from .answer import answer as write_answer
from .answer import candidates
from .fragment import Fragment, write_fragment
from .fragment import parse_untrusted as parse_fragment_untrusted
from .offer import (
    Choice,
    View,
    check_audio,
    check_mid,
    check_session,
    choose,
    choose_data,
    codecs,
    credentials,
    data_choice,
    direction,
    dtls_role,
    fingerprints,
    mid_extension,
    tls_id,
)
from .records import (
    MID_EXTENSION,
    CodecChoice,
    DataChoice,
    Direction,
    LocalDescription,
    Negotiated,
)

__all__ = [
    "MID_EXTENSION",
    "CodecChoice",
    "DataChoice",
    "Direction",
    "Fragment",
    "LocalDescription",
    "Negotiated",
    "candidates",
    "is_restart",
    "is_restart_by",
    "negotiate",
    "parse_fragment_untrusted",
    "renegotiate",
    "restart_by",
]


def negotiate(offer: Description, local: LocalDescription) -> Negotiated:
    """Answer a call's first offer. Raises OfferError."""
    check_session(offer)
    choice = choose(offer, local)
    transport = View.transport(offer, choice.indexes)
    return _settle(transport, choice, local, dtls_role(transport))


def renegotiate(previous: Negotiated, offer: Description, local: LocalDescription) -> Negotiated:
    """Answer a later offer of the same call. ``local`` brings fresh ICE credentials; they are used
    only when the offer restarts ICE, otherwise the answer repeats the previous ones. What was used
    is the result's ``local``. Raises OfferError."""
    check_session(offer)
    if len(offer.media) < previous.sections:
        raise OfferError(f"the offer has fewer than the {previous.sections} media sections agreed")
    choice = _choose_again(previous, offer, local)
    transport = View.transport(offer, previous.agreed)
    if set(fingerprints(transport)) != set(previous.fingerprints):
        problem = "the certificate's fingerprint changed: open a new call for that"
        raise transport.media.error(problem)
    restarted = is_restart(previous, offer)
    if not restarted:
        kept = previous.local
        local = evolve(local, ufrag=kept.ufrag, password=kept.password)
    role = dtls_role(transport, previous.role)
    association = tls_id(transport)
    if association is not None and previous.remote_tls_id not in (None, association):
        raise transport.media.error("the tls-id changed: open a new call for that")
    return _settle(transport, choice, local, role, previous, restarted)


def is_restart(previous: Negotiated, offer: Description) -> bool:
    """Whether a later offer restarts ICE: its ufrag or its password is new (RFC 8839, 4.4.1; one
    of the two is enough). Raises OfferError where they cannot be read."""
    if max(previous.agreed) >= len(offer.media):
        raise OfferError("a section agreed on is no longer here")
    return _differ(credentials(View.transport(offer, previous.agreed)), previous.remote)


def is_restart_by(previous: Negotiated, fragment: Fragment) -> bool:
    """Whether a fragment restarts ICE, as ``is_restart`` says of an offer. One that brings no
    credentials only trickles candidates, which are of no use here. Raises OfferError where it
    brings half of them, or bad ones, or none for a section agreed on."""
    remote = fragment.credentials(previous.agreed.values())
    return remote is not None and _differ(remote, previous.remote)


def restart_by(
    previous: Negotiated, fragment: Fragment, local: LocalDescription
) -> tuple[Negotiated, str]:
    """Restart ICE as the fragment asks, and the fragment that answers it (WHIP, "ICE Restarts").
    ``local`` brings fresh ICE credentials. Nothing else changes, and no new version of the answer
    was made: the result's ``answer`` is empty. Raises OfferError, also where the fragment's
    credentials are the ones in use."""
    remote = fragment.credentials(previous.agreed.values())
    if remote is None or not _differ(remote, previous.remote):
        raise OfferError("the fragment restarts nothing: its credentials are not new")
    settled = evolve(previous, answer=Description(), local=local, remote=remote, restarted=True)
    return settled, write_fragment(settled)


def _differ(one: Credentials, other: Credentials) -> bool:
    same_ufrag = hmac.compare_digest(one.ufrag, other.ufrag)
    return not (same_ufrag and hmac.compare_digest(one.password, other.password))


def _choose_again(previous: Negotiated, offer: Description, local: LocalDescription) -> Choice:
    """What was agreed on, which must still be there, and data where there was none."""
    for index, mid in previous.agreed.items():
        kind = "audio" if index == previous.section else "application"
        view = View.of(offer, index)
        if not view.is_live(kind) or view.media.mid != mid:
            name = "audio" if kind == "audio" else "data"
            raise view.media.error(f"the {name} section agreed on is no longer here")
    data = _data_again(previous, offer)
    if previous.data is None and local.data:
        data = choose_data(offer, previous.section)
    if previous.section is None or previous.codec is None:
        return Choice(None, None, data)
    media = offer.media[previous.section]
    agreed = (previous.codec.name, previous.codec.payload_type)
    offered = {(codec.name, codec.payload_type): codec for codec in codecs(media)}
    if agreed not in offered:
        raise media.error("the codec agreed on is no longer offered under its number")
    return Choice(previous.section, offered[agreed], data)


def _data_again(previous: Negotiated, offer: Description) -> DataChoice | None:
    if previous.data is None:
        return None
    view = View.of(offer, previous.data.section)
    if previous.section is not None and not view.is_bundled_with(View.of(offer, previous.section)):
        raise view.media.error("the data section left the BUNDLE group")
    data = data_choice(view)
    if data is None:
        raise view.media.error("the data section agreed on is no longer here")
    if data.port != previous.data.port:
        raise view.media.error("the SCTP port changed: open a new call for that")
    return data


def _settle(
    transport: View,
    choice: Choice,
    local: LocalDescription,
    role: Role,
    previous: Negotiated | None = None,
    restarted: bool = False,
) -> Negotiated:
    offer = transport.offer
    for index in choice.indexes:
        check_mid(offer.media[index])
    mids = [transport.media.mid, *(offer.media[index].mid for index in choice.indexes)]
    group = tuple(dict.fromkeys(mid for mid in mids if mid is not None))
    settled = Negotiated(
        answer=Description(),
        local=local,
        remote=credentials(transport),
        fingerprints=fingerprints(transport),
        role=role,
        mid=None,
        codec=None,
        direction=Direction.INACTIVE,
        rtcp_mux=False,
        rtcp_rsize=False,
        mid_extension_id=None,
        remote_ssrcs=(),
        section=None,
        sections=len(offer.media),
        version=1 if previous is None else previous.version + 1,
        restarted=restarted,
        data=choice.data,
        group=group if transport.group else (),
        tls_id=local.tls_id if previous is None else previous.tls_id,
        remote_tls_id=tls_id(transport),
    )
    if choice.section is not None:
        settled = _with_audio(settled, View.of(offer, choice.section), choice.codec)
    return evolve(settled, answer=write_answer(offer, settled, transport.index))


def _with_audio(settled: Negotiated, view: View, codec: CodecChoice | None) -> Negotiated:
    check_audio(view.media)
    sources = read_all(view.media.named("ssrc"), Source.read)
    return evolve(
        settled,
        mid=view.media.mid,
        codec=codec,
        direction=direction(view).mirrored,
        rtcp_mux=True,
        rtcp_rsize=view.media.has("rtcp-rsize"),
        mid_extension_id=mid_extension(view),
        remote_ssrcs=tuple(dict.fromkeys(source.ssrc for source in sources)),
        section=view.index,
    )
