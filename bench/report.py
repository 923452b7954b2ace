"""What was measured, as Markdown, JSON and charts in SVG."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from .payloads import EXPORT, PAYLOADS
from .peers import MITMPROXY, MITMPROXY_REWRITING, NGINX_SUB, NGINX_TUNED, PROXY, PROXY_REWRITING
from .rounds import CONNECTIONS, DIRECT, Results, Sample

MANY = CONNECTIONS[-1]

GOALS = (
    # what, payload, ours, theirs, the number that is compared, goal as told in the issue
    ("Patient, through: CPU", "Patient", PROXY, NGINX_TUNED, "cpu", "≤ 1.5"),
    ("Patient, nothing to rewrite: CPU", "Patient", PROXY_REWRITING, NGINX_TUNED, "cpu", "≤ 1.5"),
    ("Bundle, through: CPU", "Bundle", PROXY, NGINX_TUNED, "cpu", "≤ 1.3"),
    ("Bundle, rewritten: CPU", "Bundle", PROXY_REWRITING, NGINX_SUB, "cpu", "≤ 1.1"),
    ("200 MB, through: CPU", EXPORT.name, PROXY, NGINX_TUNED, "cpu", "≤ 1.2"),
    ("200 MB, rewritten: CPU", EXPORT.name, PROXY_REWRITING, NGINX_SUB, "cpu", "≤ 1.3"),
    ("Patient: requests/s", "Patient", PROXY, MITMPROXY, "rate", "≥ 40"),
    ("Bundle, rewritten: requests/s", "Bundle", PROXY_REWRITING, MITMPROXY_REWRITING, "rate", "≥ 14"),
)

_OF: dict[str, Callable[[Sample], float]] = {
    "cpu": lambda sample: sample.cpu_by_request,
    "rate": lambda sample: sample.by_second,
}


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
    """Write results.md, results.json and one chart for each payload."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(results, told, method), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(_plain(results, told, method), indent=1) + "\n")
    for payload in PAYLOADS:
        connections = 1 if payload.is_large else MANY
        bars = {
            peer: found[0] * 1e6
            for peer in results.idle_memory
            if (found := results.value(payload.name, connections, peer, _OF["cpu"]))
        }
        name = payload.name.lower().replace(" ", "-")
        (folder / f"{name}.svg").write_text(
            chart(f"{payload.name}: CPU µs a request", bars), encoding="utf-8"
        )


def markdown(results: Results, told: str, method: str) -> str:
    """The report for people."""
    day = datetime.now(UTC).date().isoformat()
    lines = ["# Measured", "", f"{day}, on {told}. {method}", "", "Median [least to most] of the rounds.", ""]
    lines += ["## Against the goals", "", *_goals(results), ""]
    for payload in PAYLOADS:
        lines += [f"## {payload.name}", "", *_table(results, payload.name, payload.is_large), ""]
    lines += ["## Memory and start", "", *_memory(results), ""]
    if results.left_out:
        lines += ["## Left out", "", *(f"- {what}: {why}" for what, why in results.left_out.items()), ""]
    lines += [
        "## Versions",
        "",
        *(f"- {name}: {told}" for name, told in results.versions.items() if told),
        "",
    ]
    return "\n".join(lines)


def chart(title: str, bars: dict[str, float]) -> str:
    """Horizontal bars, the shortest first."""
    ordered = sorted(bars.items(), key=lambda bar: bar[1])
    most = max(bars.values(), default=1.0)
    rows = []
    for number, (name, value) in enumerate(ordered):
        y = 44 + number * 26
        width = max(2.0, 380 * value / most)
        colour = "#0b6e4f" if name.startswith("proxy") else "#9aa5b1"
        rows.append(
            f'<text x="190" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="200" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>'
            f'<text x="{206 + width:.1f}" y="{y + 13}">{value:,.0f}</text>'
        )
    height = 56 + 26 * len(ordered)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">\n<title>{escape(title)}</title>\n'
        f'<rect width="660" height="{height}" fill="#ffffff"/>\n'
        f'<text x="12" y="26" font-size="16">{escape(title)}</text>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def _goals(results: Results) -> list[str]:
    lines = ["| goal | ours | theirs | ratio of medians | goal |", "|---|---|---|---|---|"]
    for what, payload, ours, theirs, number, goal in GOALS:
        connections = 1 if payload == EXPORT.name else MANY
        one = results.value(payload, connections, ours, _OF[number])
        other = results.value(payload, connections, theirs, _OF[number])
        if one and other:
            shown = _microseconds if number == "cpu" else _rate
            lines.append(
                f"| {what} / {theirs} | {shown(one)} | {shown(other)} | {one[0] / other[0]:.2f} | {goal} |"
            )
    growth = results.value(EXPORT.name, 1, PROXY_REWRITING, lambda sample: sample.memory_growth / 1e6)
    if growth:
        lines.append(f"| memory growth during 200 MB, rewriting | {growth[0]:.1f} MB | | | ≤ 8 MB |")
    ours_start, theirs_start = results.starts.get(PROXY), results.starts.get(MITMPROXY)
    if ours_start and theirs_start:
        one_, other_ = median(ours_start), median(theirs_start)
        lines.append(
            f"| start to first answer / {MITMPROXY} | {one_ * 1e3:.0f} ms | {other_ * 1e3:.0f} ms "
            f"| {one_ / other_:.2f} | ≤ 0.3 |"
        )
    return lines


def _table(results: Results, payload: str, is_large: bool) -> list[str]:
    names = [DIRECT, *results.idle_memory]
    if is_large:
        lines = ["| proxy | CPU ms | seconds | memory growth MB |", "|---|---|---|---|"]
        for name in names:
            cpu = results.value(payload, 1, name, lambda sample: sample.cpu_by_request * 1e3)
            seconds = results.value(payload, 1, name, lambda sample: sample.median)
            growth = results.value(payload, 1, name, lambda sample: sample.memory_growth / 1e6)
            if cpu and seconds and growth:
                lines.append(f"| {name} | {_spread(cpu, 0)} | {_spread(seconds, 2)} | {_spread(growth, 1)} |")
        return lines
    lines = [
        "| proxy | CPU µs a request, c=32 | requests/s, c=32 | CPU µs a request, c=1 | added p50 µs, c=1 |",
        "|---|---|---|---|---|",
    ]
    direct = results.value(payload, 1, DIRECT, lambda sample: sample.median)
    for name in names:
        many = results.value(payload, MANY, name, _OF["cpu"])
        rate = results.value(payload, MANY, name, _OF["rate"])
        single = results.value(payload, 1, name, _OF["cpu"])
        half = results.value(payload, 1, name, lambda sample: sample.median)
        if many and rate and single and half and direct:
            added = "" if name == DIRECT else f"{(half[0] - direct[0]) * 1e6:.0f}"
            lines.append(
                f"| {name} | {_microseconds(many)} | {_rate(rate)} | {_microseconds(single)} | {added} |"
            )
    return lines


def _memory(results: Results) -> list[str]:
    lines = ["| proxy | idle MB | peak MB | start to first answer ms |", "|---|---|---|---|"]
    for name, idle in results.idle_memory.items():
        starts = results.starts.get(name)
        start = f"{median(starts) * 1e3:.0f}" if starts else ""
        peak = results.peak_memory.get(name, idle)
        lines.append(f"| {name} | {idle / 1e6:.0f} | {peak / 1e6:.0f} | {start} |")
    return lines


def _plain(results: Results, told: str, method: str) -> dict[str, object]:
    return {
        "machine": told,
        "method": method,
        "samples": [
            {
                "payload": payload,
                "connections": connections,
                "peer": peer,
                "cpu_seconds_by_request": [sample.cpu_by_request for sample in samples],
                "requests_by_second": [sample.by_second for sample in samples],
                "median_seconds": [sample.median for sample in samples],
                "memory_growth_bytes": [sample.memory_growth for sample in samples],
            }
            for (payload, connections, peer), samples in results.samples.items()
        ],
        "idle_bytes": results.idle_memory,
        "peak_bytes": results.peak_memory,
        "start_seconds": results.starts,
        "left_out": results.left_out,
        "versions": results.versions,
    }


def _microseconds(found: tuple[float, float, float]) -> str:
    return _spread((found[0] * 1e6, found[1] * 1e6, found[2] * 1e6), 0)


def _rate(found: tuple[float, float, float]) -> str:
    return _spread(found, 0)


def _spread(found: tuple[float, float, float], digits: int) -> str:
    return f"{found[0]:,.{digits}f} [{found[1]:,.{digits}f}..{found[2]:,.{digits}f}]"
