"""What was measured, as Markdown, JSON and charts in SVG."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from .chart import chart
from .payloads import BUNDLE, EXPORT, PATIENT, Payload
from .peers import MITMPROXY, MITMPROXY_REWRITING, NGINX_SUB, NGINX_TUNED, PROXY, PROXY_REWRITING
from .rounds import CONNECTIONS, DIRECT, PLAIN, Results, Sample, Slot, Spread

MANY = CONNECTIONS[-1]

Of = Callable[[Sample], float]


def _cpu(sample: Sample) -> float:
    return sample.cpu_by_request


def _rate(sample: Sample) -> float:
    return sample.by_second


def _latency(sample: Sample) -> float:
    return sample.median


def _growth(sample: Sample) -> float:
    return sample.memory_growth / 1e6


@dataclass(frozen=True, slots=True)
class Goal:
    """One number of ours against one of theirs, and how they may stand to each other."""

    what: str
    payload: Payload
    ours: str
    theirs: str
    of: Of
    wanted: str


GOALS = (
    Goal("Patient, through: CPU", PATIENT, PROXY, NGINX_TUNED, _cpu, "≤ 1.5"),
    Goal("Patient, nothing to rewrite: CPU", PATIENT, PROXY_REWRITING, NGINX_TUNED, _cpu, "≤ 1.5"),
    Goal("Bundle, through: CPU", BUNDLE, PROXY, NGINX_TUNED, _cpu, "≤ 1.3"),
    Goal("Bundle, rewritten: CPU", BUNDLE, PROXY_REWRITING, NGINX_SUB, _cpu, "≤ 1.1"),
    Goal("200 MB, through: CPU", EXPORT, PROXY, NGINX_TUNED, _cpu, "≤ 1.2"),
    Goal("200 MB, rewritten: CPU", EXPORT, PROXY_REWRITING, NGINX_SUB, _cpu, "≤ 1.3"),
    Goal("Patient: requests/s", PATIENT, PROXY, MITMPROXY, _rate, "≥ 40"),
    Goal("Bundle, rewritten: requests/s", BUNDLE, PROXY_REWRITING, MITMPROXY_REWRITING, _rate, "≥ 14"),
)


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    return (
        f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    )


def write_report(results: Results, folder: Path, told: str, method: str) -> None:
    """Write results.md, results.json and one chart for each payload and kind of upstream."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(results, told, method), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(_plain(results, told, method), indent=1) + "\n")
    for slot in results.slots():
        if slot.connections != MANY and slot.payload != EXPORT.name:
            continue
        bars = {
            name: found[0] * 1e6 for name in _names(results) if (found := results.value(slot, name, _cpu))
        }
        tls = "" if slot.scenario == PLAIN else f"-{slot.scenario.lower()}"
        over = "" if slot.scenario == PLAIN else ", TLS to the upstream"
        (folder / f"{slot.payload.lower().replace(' ', '-')}{tls}.svg").write_text(
            chart(f"{slot.payload}: CPU µs a request{over}", bars), encoding="utf-8"
        )


def markdown(results: Results, told: str, method: str) -> str:
    """The report for people."""
    day = datetime.now(UTC).date().isoformat()
    lines = ["# Measured", "", f"{day}, on {told}. {method}", "", "Median [least to most] of the rounds.", ""]
    lines += ["## Against the goals", "", *_goals(results), ""]
    for scenario, payload in dict.fromkeys((slot.scenario, slot.payload) for slot in results.slots()):
        over = "" if scenario == PLAIN else ", TLS to the upstream"
        lines += [f"## {payload}{over}", "", *_table(results, scenario, payload), ""]
    lines += ["## Memory and start", "", *_memory(results), ""]
    if results.left_out:
        lines += ["## Left out", "", *(f"- {what}: {why}" for what, why in results.left_out.items()), ""]
    lines += [
        "## Versions",
        "",
        *(f"- {name}: {version}" for name, version in results.versions.items() if version),
        "",
    ]
    return "\n".join(lines)


def _names(results: Results) -> list[str]:
    return list(dict.fromkeys(name for _, name in results.idle_memory))


def _goals(results: Results) -> list[str]:
    lines = ["| goal | ours | theirs | ratio of medians | goal |", "|---|---|---|---|---|"]
    for goal in GOALS:
        slot = Slot(PLAIN, goal.payload.name, 1 if goal.payload.is_large else MANY)
        one, other = results.value(slot, goal.ours, goal.of), results.value(slot, goal.theirs, goal.of)
        if one and other:
            shown = _microseconds if goal.of is _cpu else _whole
            lines.append(
                f"| {goal.what} / {goal.theirs} | {shown(one)} | {shown(other)} | {one[0] / other[0]:.2f} "
                f"| {goal.wanted} |"
            )
    for name in (PROXY, PROXY_REWRITING):
        growth = results.value(Slot(PLAIN, EXPORT.name, 1), name, _growth)
        if growth:
            lines.append(f"| memory growth during 200 MB: {name} | {growth[0]:.1f} MB | | | ≤ 8 MB |")
    idle = results.idle_memory.get((PLAIN, PROXY))
    if idle:
        lines.append(f"| memory idle, without MSAL | {idle / 1e6:.0f} MB | | | ≤ 45 MB with MSAL |")
    ours, theirs = results.starts.get(PROXY), results.starts.get(MITMPROXY)
    if ours and theirs:
        lines.append(
            f"| start to first answer / {MITMPROXY} | {median(ours) * 1e3:.0f} ms | {median(theirs) * 1e3:.0f} ms "
            f"| {median(ours) / median(theirs):.2f} | ≤ 0.3 |"
        )
    return lines


def _table(results: Results, scenario: str, payload: str) -> list[str]:
    names = [DIRECT, *_names(results)]
    if payload == EXPORT.name:
        lines = ["| proxy | CPU ms | seconds | memory growth MB |", "|---|---|---|---|"]
        for name in names:
            found = [results.value(Slot(scenario, payload, 1), name, of) for of in (_cpu, _latency, _growth)]
            if spreads := [spread for spread in found if spread]:
                shown = (_spread(spreads[0], 0, 1e3), _spread(spreads[1], 2), _spread(spreads[2], 1))
                lines.append(f"| {name} | {' | '.join(shown)} |")
        return lines
    many, single = Slot(scenario, payload, MANY), Slot(scenario, payload, 1)
    direct = results.value(single, DIRECT, _latency)
    lines = [
        f"| proxy | CPU µs a request, c={MANY} | requests/s, c={MANY} | CPU µs a request, c=1 | added p50 µs, c=1 |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        half = results.value(single, name, _latency)
        added = f"{(half[0] - direct[0]) * 1e6:.0f}" if half and direct and name != DIRECT else ""
        cells = (
            _microseconds(results.value(many, name, _cpu)),
            _whole(results.value(many, name, _rate)),
            _microseconds(results.value(single, name, _cpu)),
            added,
        )
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _memory(results: Results) -> list[str]:
    lines = ["| proxy | idle MB | peak MB | start to first answer ms |", "|---|---|---|---|"]
    for (scenario, name), idle in results.idle_memory.items():
        starts = results.starts.get(name) if scenario == PLAIN else None
        start = _spread((median(starts), min(starts), max(starts)), 0, 1e3) if starts else ""
        peak = results.peak_memory.get((scenario, name), idle)
        over = "" if scenario == PLAIN else f", {scenario}"
        lines.append(f"| {name}{over} | {idle / 1e6:.0f} | {peak / 1e6:.0f} | {start} |")
    return lines


def _plain(results: Results, told: str, method: str) -> dict[str, object]:
    return {
        "machine": told,
        "method": method,
        "samples": [
            {**asdict(slot), "peer": peer, "rounds": [asdict(sample) for sample in samples]}
            for (slot, peer), samples in results.samples.items()
        ],
        "memory": list(_memory_of(results)),
        "start_seconds": results.starts,
        "left_out": results.left_out,
        "versions": results.versions,
    }


def _memory_of(results: Results) -> Iterator[dict[str, object]]:
    for (scenario, peer), idle in results.idle_memory.items():
        peak = results.peak_memory.get((scenario, peer), idle)
        yield {"scenario": scenario, "peer": peer, "idle_bytes": idle, "peak_bytes": peak}


def _microseconds(found: Spread | None) -> str:
    return _spread(found, 0, 1e6) if found else ""


def _whole(found: Spread | None) -> str:
    return _spread(found, 0) if found else ""


def _spread(found: Spread, digits: int, times: float = 1.0) -> str:
    middle, least, most = (value * times for value in found)
    return f"{middle:,.{digits}f} [{least:,.{digits}f}..{most:,.{digits}f}]"
