"""`python -m bench.sizing`: what many sidecars cost Entra ID, the FHIR server and Redis, by the program's own rules.

Writes the tables and the chart of docs/sizing.md. Nothing is measured here: sidecars that are always busy are played
by the clock of a simulation, each with the times that `proxy.auth.renewal` gives its tokens. Of many sidecars some are
played, and each counts for several.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from proxy.auth.keeping import Obtained
from proxy.auth.renewal import times
from proxy.auth.sources import AccessToken
from proxy.upstream.timeouts import Timeouts

DOCS = Path(__file__).parents[1] / "docs"
PAGE, CHART = DOCS / "sizing.md", DOCS / "pictures" / "sizing.svg"

COUNTS = (10, 1_000, 100_000)
PLAYED = 5_000
"""Sidecars that are played at most."""

START = 60.0
"""Seconds within which all sidecars start, one after the other."""

HOUR = 3600.0
END = 6 * HOUR
MINUTES = int(END // 60)

MEGABYTES = 60
"""Memory of a sidecar after its first request; docs/kubernetes.md says how it was measured."""


@dataclass(frozen=True, slots=True)
class Life:
    """Seconds that tokens live."""

    shortest: float
    longest: float

    def __str__(self) -> str:
        minutes = sorted({self.shortest / 60, self.longest / 60})
        return " to ".join(f"{one:g}" for one in minutes) + " min"


LIVES = (Life(HOUR, HOUR), Life(HOUR, 1.5 * HOUR))
"""What a policy fixes, and Entra ID's default: from 60 to 90 minutes, by chance."""


@dataclass(frozen=True, slots=True)
class Load:
    """Token requests."""

    by_minute: list[float]
    hourly: float
    """In the long run."""
    looks: float = 0.0
    """Calls to Redis in an hour, in the long run."""

    @property
    def first(self) -> float:
        """In the minute in which all start."""
        return self.by_minute[0]

    @property
    def peak(self) -> float:
        """In the busiest minute after that one."""
        return max(self.by_minute[1:])


@cache
def alone(count: int, life: Life, *, spreads: bool) -> Load:
    """Each sidecar renews its own token; `spreads` where chance takes part, as it does in the program."""
    chance = Random(1)  # noqa: S311  nothing secret: the same numbers in each run
    played = min(count, PLAYED)
    by_minute = [0.0] * MINUTES
    renewals, seconds = 0, 0.0
    for number in range(played):
        now, was_awaited = START * number / played, True
        while now < END:
            by_minute[int(now // 60)] += count / played
            ends_at = now + chance.uniform(life.shortest, life.longest)
            part = chance.random() if spreads else 0.0
            next_at = times(now, ends_at, ends_at, part, was_awaited=was_awaited).refresh_at
            if not was_awaited:
                renewals, seconds = renewals + 1, seconds + next_at - now
            now, was_awaited = next_at, False
    return Load(by_minute, count * HOUR * renewals / seconds)


@cache
def together(count: int, life: Life) -> Load:
    """All sidecars share one identity's token: whoever renews first asks Entra ID, the others find what came."""
    chance = Random(1)  # noqa: S311  as above
    played = min(count, PLAYED)
    by_minute = [0.0] * MINUTES
    asked_at: list[float] = []
    looks = 0
    shared = Obtained(AccessToken("", 0.0, 0.0), 0.0)
    due = [(START * number / played, number, "") for number in range(played)]
    while due[0][0] < END:
        now, number, own = due[0]
        if not shared.serves(now, own, was_refused=False):
            ends_at = now + chance.uniform(life.shortest, life.longest)
            shared = Obtained(AccessToken(f"t{len(asked_at)}", ends_at, ends_at), now)
            asked_at.append(now)
            by_minute[int(now // 60)] += 1
        looks += now >= HOUR
        token = shared.token
        found = times(now, token.expires_at, token.refresh_at, chance.random(), was_awaited=not own)
        heapq.heapreplace(due, (found.refresh_at, number, token.value))
    hourly = HOUR * (len(asked_at) - 2) / (asked_at[-1] - asked_at[1])
    return Load(by_minute, hourly, looks * count / played * HOUR / (END - HOUR))


def token_requests() -> Iterator[str]:
    """What comes to Entra ID."""
    yield from _head(
        *("sidecars", "tokens live", "in the minute of the start", "busiest minute later, all in step"),
        *("busiest minute later", "an hour", "shared cache: an hour"),
    )
    for life in LIVES:
        for count in COUNTS:
            in_step, load = alone(count, life, spreads=False), alone(count, life, spreads=True)
            cells = (load.first, in_step.peak, load.peak, load.hourly)
            shared = f"{together(count, life).hourly:.1f}"
            yield f"| {count:,} | {life} | {' | '.join(map(rounded, cells))} | {shared} |"


def elsewhere() -> Iterator[str]:
    """What comes to the FHIR server and to Redis, and what the sidecars take."""
    yield from _head(
        *("sidecars", "connections to the FHIR server", "new ones a second", "probes of the start, a second"),
        *("memory of all", "connections to Redis", "calls to Redis an hour"),
    )
    for count in COUNTS:
        looks = together(count, LIVES[0]).looks
        cells = (count, count / Timeouts().life, count / START)
        memory = f"{rounded(count * MEGABYTES / 1000)} GB"
        yield f"| {count:,} | {' | '.join(map(rounded, cells))} | {memory} | {count:,} | {rounded(looks)} |"


def _head(first: str, *names: str) -> Iterator[str]:
    yield f"| {' | '.join((first, *names))} |"
    yield f"|{'---:|' * (1 + len(names))}"


TABLES: dict[str, Callable[[], Iterator[str]]] = {"token requests": token_requests, "elsewhere": elsewhere}


def rounded(value: float) -> str:
    """Two digits that count; a simulation knows no more."""
    return f"{float(f'{value:.2g}'):,.10g}"


def written_anew(text: str) -> str:
    """The page with its tables as they have to be."""
    for name, lines in TABLES.items():
        table = "\n".join(lines())
        text = re.sub(
            rf"(<!-- {name}: start -->\n).*?(<!-- {name}: end -->)",
            lambda found, table=table: f"{found[1]}{table}\n{found[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


def chart() -> str:
    """Token requests by minute of the most sidecars, in step and by chance, as SVG."""
    count, life = COUNTS[-1], LIVES[0]
    lines = (
        ("all in step", "#9aa5b1", alone(count, life, spreads=False)),
        ("as the proxy renews", "#0b6e4f", alone(count, life, spreads=True)),
    )
    title = f"Token requests a minute: {count:,} sidecars that started in one minute, tokens of {life}"
    drawn = []
    for number, (name, colour, load) in enumerate(lines):
        points = " ".join(
            f"{60 + minute * 1.6:.0f},{250 - 200 * value / count:.1f}"
            for minute, value in enumerate(load.by_minute)
        )
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>\n'
            f'<rect x="{380 + 120 * number}" y="36" width="10" height="10" fill="{colour}"/>'
            f'<text x="{394 + 120 * number}" y="46">{name}</text>'
        )
    axes = [
        f'<text x="54" y="{254 - 200 * part:.0f}" text-anchor="end">{count * part:,.0f}</text>'
        for part in (0, 0.5, 1)
    ]
    axes += [
        f'<text x="{60 + hour * 96}" y="270" text-anchor="middle">{hour} h</text>'
        for hour in range(MINUTES // 60 + 1)
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 284" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11">\n<title>{title}</title>\n'
        '<rect width="660" height="284" fill="#ffffff"/>\n'
        f'<text x="12" y="22" font-size="13">{title}</text>\n'
        '<path d="M60 50V250H636" fill="none" stroke="#52606d"/>\n' + "\n".join(drawn + axes) + "\n</svg>\n"
    )


def main() -> None:
    """Write the tables and the chart anew."""
    PAGE.write_text(written_anew(PAGE.read_text("utf-8")), "utf-8")
    CHART.write_text(chart(), "utf-8")


if __name__ == "__main__":
    main()
