"""How many cases a CPU second the suite asks of our own cores.

    python tests/bench/bench_conformance.py [--rounds N]

Each round asks every case once in memory and once in the simulator, in one thread; what a driver
cannot ask is left out of its count. Nobody else has such a suite to put beside it, so the ratio is
that of the drivers: what relay and network add. Handshakes are most of the time, and a case that
needs one has its own: nothing is shared between cases.
"""

import argparse
import time
from collections import Counter

from figures import median, ratio

from conformance import catalogue
from conformance.case import Verdict
from conformance.drivers.memory import MemoryDriver, SimulatedDriver
from conformance.runner import Driver, Result, run_case


def once(driver: Driver) -> tuple[float, list[Result]]:
    """Cases per CPU second, and what came of them."""
    began = time.process_time()
    results = [run_case(case, driver, time.process_time) for case in catalogue.load()]
    took = time.process_time() - began
    asked = [result for result in results if result.verdict is not Verdict.UNSUPPORTED]
    return len(asked) / took, asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    once(MemoryDriver())  # what is imported and cached once is not the cases' time
    drivers: tuple[Driver, ...] = (MemoryDriver(), SimulatedDriver())
    rates: dict[str, list[float]] = {driver.name: [] for driver in drivers}
    last: dict[str, list[Result]] = {}
    for _ in range(rounds):
        for driver in drivers:
            rate, last[driver.name] = once(driver)
            rates[driver.name].append(rate)
    for name, measured in rates.items():
        verdicts = Counter(result.verdict.value for result in last[name])
        told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        slowest = max(last[name], key=lambda result: result.seconds)
        print(f"{name}: {median(measured):,.0f} cases per CPU second ({told})")
        print(f"  the slowest: {slowest.case.name}, {slowest.seconds * 1e3:.0f} ms")
    share = ratio(rates["simulator"], rates["memory"])
    print(f"simulator to memory: {share:.2f}")


if __name__ == "__main__":
    main()
