"""Cases in, results out.

One function asks one case on one stage and turns whatever happens into a ``Result``: an exception
that nobody declared is ``BROKEN``, which is the harness's fault and never the server's.
"""

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from attrs import field, frozen

from stunroute.errors import DecodeError

from .case import Blocked, Case, Observed, Seen, Unsupported, Verdict
from .stage import Refused
from .trail import Trail
from .wire import Forbidden


class Driver(Protocol):
    """Who sets stages up. ``name`` is what ``Case.without`` knows it by: ``memory``, ``simulator``,
    ``udp``."""

    @property
    def name(self) -> str: ...
    def stage(self, case: Case) -> AbstractContextManager[Any]:
        """A ``Stage`` or a ``RelayStage`` for the length of a block. Raises Unsupported, Blocked,
        OSError."""


@frozen(slots=True)
class Result:
    """``seen`` is None where the steps came to no end; ``detail`` then says why. ``seconds`` is
    what it took by the clock that ``run_case`` was given, 0.0 without one."""

    case: Case
    driver: str
    verdict: Verdict
    seen: Seen | None = None
    detail: str = ""
    trail: Trail = field(factory=Trail, repr=False)
    seconds: float = 0.0


def run_case(case: Case, driver: Driver, clock: Callable[[], float] = lambda: 0.0) -> Result:
    """Ask one case on a stage of the driver's. ``clock`` says seconds, for the result alone. Raises
    nothing but what ends the program."""
    began = clock()
    trail = Trail()

    def result(verdict: Verdict, seen: Seen | None = None, detail: str = "") -> Result:
        return Result(case, driver.name, verdict, seen, detail, trail, clock() - began)

    if (reason := case.without.get(driver.name)) is not None:
        return result(Verdict.UNSUPPORTED, detail=reason)
    try:
        with driver.stage(case) as stage:
            trail = stage.trail
            seen, detail = _told(case.steps(stage))
        return result(case.judge(seen), seen, detail)
    except Unsupported as error:
        return result(Verdict.UNSUPPORTED, detail=str(error))
    except (Blocked, Forbidden, Refused) as error:
        return result(Verdict.BLOCKED, detail=str(error))
    except DecodeError as error:
        return result(Verdict.BLOCKED, detail=f"what came cannot be read: {error}")
    except OSError as error:
        return result(Verdict.BLOCKED, detail=f"the server cannot be reached: {error}")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        return result(Verdict.BROKEN, detail=said)


def _told(observed: Observed) -> tuple[Seen, str]:
    return observed if isinstance(observed, tuple) else (observed, "")
