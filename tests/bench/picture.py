"""Draws what ``bench_forwarding`` measured, for the README.

One hue for the relay and grey for its peers, figures at the bars instead of a legend, a white
ground of its own so that it reads on a dark page too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import machine
import matplotlib as mpl
from figures import median
from generator import LENGTH

if TYPE_CHECKING:
    from bench_forwarding import Measured

OURS = "stunroute"
NOBODY = "no forwarder"
INK, FAINT = "#1f2328", "#59636e"
OUR_COLOUR, THEIR_COLOUR, THEIR_TAIL = "#0f766e", "#aab4bf", "#d5dbe1"
OUR_TAIL = "#7cc4bd"
LABELS = {
    OURS: "stunroute (Python)",
    "C batched": "C, recvmmsg and sendmmsg",
    "C plain": "C, recvfrom and sendto",
    "Go": "Go, one packet a call",
    "asyncio": "asyncio protocols",
    "uvloop": "uvloop protocols",
    NOBODY: "(no forwarder)",
}


def draw(measured: Measured, path: str) -> None:
    """Write an SVG, or what else the ending of ``path`` says. The same figures give the same
    file."""
    mpl.use("svg" if path.endswith("svg") else "agg")
    mpl.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.size": 10,
            "svg.fonttype": "path",
            "svg.hashsalt": "stunroute",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": THEIR_COLOUR,
            "xtick.color": FAINT,
            "ytick.color": INK,
        }
    )
    from matplotlib import pyplot

    figure, (first, second, third) = pyplot.subplots(
        1, 3, figsize=(10.4, 3.8), width_ratios=(5, 5, 4), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.06)
    names = sorted(measured.capacity, key=lambda name: -_shown(measured, name))
    _bars(first, measured, names, "up", "Toward the transceiver")
    _bars(second, measured, names, "down", "Back to the client")
    _latencies(third, measured, names)
    second.set_yticklabels([])
    third.set_yticklabels([])
    figure.supxlabel(
        f"one core each, {LENGTH}-byte packets; dark bars 100 flows, light bars 10,000; "
        f"{machine.describe()}",
        fontsize=8,
        color=FAINT,
    )
    metadata: dict[str, Any] = {"Date": None} if path.endswith("svg") else {}
    figure.savefig(path, facecolor="white", dpi=150, metadata=metadata)
    pyplot.close(figure)


def _shown(measured: Measured, name: str) -> float:
    """What all bars of a forwarder come to."""
    scenarios = [(flows, direction) for flows in (100, 10_000) for direction in ("up", "down")]
    return sum(median(measured.rates(name, scenario)) for scenario in scenarios)


def _frame(axes: Any, title: str, unit: str, names: list[str]) -> None:
    axes.set_title(title, fontsize=11, loc="left", color=INK, fontweight="bold", pad=20)
    axes.text(0, 1.02, unit, fontsize=8, color=FAINT, transform=axes.transAxes)
    axes.set_yticks(range(len(names)), [LABELS.get(name, name) for name in names])
    axes.invert_yaxis()
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name == OURS else "normal")


def _bars(axes: Any, measured: Measured, names: list[str], direction: str, title: str) -> None:
    """Thousands of packets per second, few flows above many."""
    most = 0.0
    for row, name in enumerate(names):
        dark, light = (OUR_COLOUR, OUR_TAIL) if name == OURS else (THEIR_COLOUR, THEIR_TAIL)
        for offset, flows, colour in ((-0.19, 100, dark), (0.19, 10_000, light)):
            value = median(measured.rates(name, (flows, direction))) / 1e3
            most = max(most, value)
            axes.barh(row + offset, value, height=0.34, color=colour)
            axes.text(
                value,
                row + offset,
                f" {value:.0f}",
                va="center",
                fontsize=8,
                color=INK if name == OURS else FAINT,
            )
    _frame(axes, title, "thousand packets per second", names)
    axes.set_xlim(0, most * 1.14)


def _latencies(axes: Any, measured: Measured, names: list[str]) -> None:
    """Median to 99th percentile, microseconds, at half of each one's own capacity; logarithmic."""
    least, most = 1e9, 0.0
    for row, name in enumerate(names):
        results = measured.paced.get(name, {}).get("half", [])
        if not results:
            continue
        p50 = median(result.up.p50 for result in results) / 1e3
        p99 = median(result.up.p99 for result in results) / 1e3
        least, most = min(least, p50), max(most, p99)
        colour = OUR_COLOUR if name == OURS else THEIR_COLOUR
        axes.plot([p50, p99], [row, row], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([p50], [row], "o", color=colour, markersize=7)
        axes.annotate(
            f"{p50:.0f} – {p99:.0f}",
            (p99, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK if name == OURS else FAINT,
        )
    _frame(axes, "Latency at half load", "median – 99th percentile, µs, log scale", names)
    axes.set_xscale("log")
    axes.minorticks_off()
    if most:
        axes.set_xlim(least / 1.5, most * (most / least) ** 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
