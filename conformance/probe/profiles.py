"""Which profiles a case belongs to, in the sets that occur.

A case is asked where one of its profiles is. So a case with several is about something that each
of them shows; what needs several at once says so by raising Unsupported.
"""

from typing import Final, TypeAlias

from conformance.case import Profile

Profiles: TypeAlias = tuple[Profile, ...]

STUN: Final[Profiles] = (Profile.STUN,)
ICE: Final[Profiles] = (Profile.ICE_LITE,)
STUN_AND_ICE: Final[Profiles] = (Profile.ICE_LITE, Profile.STUN)
ICE_AND_DTLS: Final[Profiles] = (Profile.ICE_LITE, Profile.DTLS)
ICE_AND_SRTP: Final[Profiles] = (Profile.ICE_LITE, Profile.SRTP)
ICE_AND_SDP: Final[Profiles] = (Profile.ICE_LITE, Profile.SDP)
DTLS: Final[Profiles] = (Profile.DTLS,)
DTLS_AND_SRTP: Final[Profiles] = (Profile.DTLS, Profile.SRTP)
DTLS_AND_SDP: Final[Profiles] = (Profile.DTLS, Profile.SDP)
SRTP: Final[Profiles] = (Profile.SRTP,)
SRTP_AND_SDP: Final[Profiles] = (Profile.SRTP, Profile.SDP)
DATACHANNEL: Final[Profiles] = (Profile.DATACHANNEL,)
DATACHANNEL_AND_SDP: Final[Profiles] = (Profile.DATACHANNEL, Profile.SDP)
SDP: Final[Profiles] = (Profile.SDP,)
SDP_AND_SIGNALING: Final[Profiles] = (Profile.SDP, Profile.SIGNALING)
SIGNALING: Final[Profiles] = (Profile.SIGNALING,)
RELAY: Final[Profiles] = (Profile.RELAY,)
