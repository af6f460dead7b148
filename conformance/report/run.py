"""A finished run, as every report reads it."""

import shlex
from collections import Counter

from attrs import field, frozen

from conformance.case import Verdict
from conformance.expectations import Expectations, Known
from conformance.runner import Result


@frozen(slots=True)
class Run:
    """``subject`` says what was asked (a URL, an address, our own cores), ``options`` the part of
    the command line that leads there, for reruns; ``began`` is a time of day in ISO 8601."""

    subject: str
    options: tuple[str, ...]
    began: str
    seconds: float
    version: str
    results: tuple[Result, ...]
    expectations: Expectations = field(factory=Expectations)
    strict: bool = False
    seed: str = "0"

    def known(self, result: Result) -> Known | None:
        """The entry of the known-failures file for a result that is not well."""
        if result.verdict in (Verdict.PASS, Verdict.UNSUPPORTED, Verdict.BROKEN):
            return None
        return self.expectations.of(result.case.name)

    def fails(self, result: Result) -> bool:
        """Whether this result fails the run."""
        if self.known(result) is not None:
            return False
        grave = {Verdict.FAIL, Verdict.BLOCKED, Verdict.BROKEN}
        return result.verdict in grave or (self.strict and result.verdict is Verdict.LENIENT)

    @property
    def outlived(self) -> list[Known]:
        """Known failures that are none any more."""
        return self.expectations.outlived(self.results)

    @property
    def counts(self) -> Counter[Verdict]:
        return Counter(result.verdict for result in self.results)

    def rerun(self, result: Result) -> str:
        """The one command that asks this case again."""
        seed = () if self.seed == "0" else ("--seed", self.seed)
        words = ("conformance", "run", *self.options, *seed, result.case.name)
        return shlex.join(words)
