"""The cases, and how to write one.

A file is a subject, and begins with the layer it is about: ``stun_``, ``ice_``, ``demux``,
``dtls_``, ``srtp_``, ``rtp``, ``rtcp``, ``sctp_``, ``channels``, ``sdp_``, ``signaling_``,
``relay_``. A case needs no list: whatever a module here defines is found. This is a whole one::

    from conformance.case import Observed, case
    from conformance.probe.profiles import ICE
    from conformance.probe.stun import Answered, check, need_credentials, probe, reach
    from conformance.probe.stun_questions import FAULTS
    from conformance.stage import Stage

    @case(
        "rfc9999/1.2/another-password",
        "A check that is signed with another password is not answered with success.",
        sends="a check signed with another password",
        profiles=ICE,
        good=(Answered.UNAUTHENTICATED, Answered.SILENCE),
        lenient=(Answered.BAD_REQUEST,),
        bad=(*FAULTS, Answered.SUCCESS, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT),
        traps=("STUN and ICE 5",),
    )
    def another_password(stage: Stage) -> Observed:
        asker = reach(stage)
        need_credentials(asker)
        return probe(asker, check(asker, password=b"another one")).observed

**The name** is permanent, for known failures and matrices cite it: ``rfcNNNN/SECTION/SLUG``, or
``traps/LAYER/SLUG`` and ``relay/SUBJECT/SLUG`` where no RFC says it. **The requirement** is one
sentence that can be read alone and says what is right, in our own words; no sentence of an RFC.
``sends`` goes on from "it sends" and has no full stop. **The level** is the RFC's own; where
nothing is written, ask whether a call breaks (MUST) or only suffers (SHOULD).

**The steps** see and never judge. They return one word of a vocabulary (an ``Enum`` of ``Seen``,
shared ones are in ``conformance.probe``), if need be with particulars; the oracle names every word
once, which is checked when the module is imported. They raise ``Unsupported`` where the question
cannot be asked (``need_...`` helpers do), and ``Blocked`` where something that must come before it
does not work. Silence is an outcome: confirm that the server lives, and have a word of its own for
one that does not. Change one thing and keep the rest right, integrity, hashes and numbers included,
so that nothing else can be the reason for what the server does.

**Cases that differ in little** are made by one function of their file. It takes a ``Rule``, which
is all that a case asserts (name, requirement, level, ids, traps), and besides only what is
particular to how that is asked; ``rule.asked`` makes the case. ``question``, ``relayed`` and
``lone`` in ``conformance.probe`` are such functions for many files.

**A case works against any server**: what our own cores know must not be asked of them. Draw only
from ``stage.entropy``, wait only by the stage's clock, and put in ``lasts`` how long it takes
beyond round trips if that is more than half a second. ``without`` names a driver that cannot ask
it.

**Two files may ask about one line of an offer.** What begins with ``sdp_`` reads the answer as
text, what begins with another layer goes on and sees what that layer then does: an answer may be
sound, and the call not come up.

Then run it: ``conformance run --memory NAME`` against our own cores, which have to pass; and write
down which ids of ``conformance/requirements`` it answers. A case that has never failed proves
nothing yet: add a mutant (``conformance.mutants``) that it alone notices.
"""
