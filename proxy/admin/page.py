"""The status as a page for people: rendered here, every value escaped; a script keeps it as it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import charts
from .snippets import SNIPPETS
from .traffic import SPAN, Traffic
from .watching import moment

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent

STYLE = (FOLDER / "page.css").read_text("utf-8")
SCRIPT = (FOLDER / "page.js").read_text("utf-8")

Facts = Mapping[str, object]
"""What /api/status tells of a server, with its `traffic`."""


def page(status: Mapping[str, object], servers: Sequence[Facts], key: str) -> str:
    """The page for what /api/status tells; `key` is what its forms have to bring."""
    return _template("page.html").render(
        title=title(status),
        status={**status, "servers": servers},
        rendered={server["number"]: _rendered(server, key) for server in servers},
        snippets=SNIPPETS,
    )


def parts(servers: Sequence[Facts], key: str) -> dict[str, str]:
    """What changes while a page is open, by the names that the page knows."""
    return {
        f"{name}-{server['number']}": html
        for server in servers
        for name, html in _rendered(server, key).items()
    }


def title(status: Mapping[str, object]) -> str:
    """What the browser's tab says."""
    return f"{'Ready' if status['ready'] else 'Not ready'}: fhir-auth-proxy"


def shown(traffic: Traffic, now: float) -> Facts:
    """What the exchanges of a server came to, in words and shapes."""
    bars = traffic.bars(now)
    rates = [bar.per_second for bar in bars]
    busiest, slowest = max(rates), max(bar.most_within for bar in bars)
    latest = next((bar for bar in reversed(bars) if bar.per_second), None)
    return {
        # With the last span that has ended, since the one that has just begun tells little.
        "now": f"{(bars[-2].per_second + bars[-1].per_second) * SPAN / (SPAN + now % SPAN):.2g}",
        "most": f"{busiest:.2g}",
        "failures": sum(bar.failures for bar in bars),
        "rate": charts.bars(rates, busiest),
        "failed": charts.bars([bar.failures / SPAN for bar in bars], busiest),
        "half": _duration(latest.half_within) if latest else "",
        "nearly_all": _duration(latest.most_within) if latest else "",
        "half_within": charts.steps([bar.half_within for bar in bars], slowest),
        "most_within": charts.bars([bar.most_within for bar in bars], slowest),
        "latest": [
            {
                "at": moment(one.at),
                "interaction": one.interaction,
                "status": one.status,
                "milliseconds": one.milliseconds,
            }
            for one in traffic.latest
        ],
    }


@lru_cache(maxsize=16)
def qr_code(address: str) -> str:
    """An address as a picture for a phone's camera, as SVG."""
    import segno  # noqa: PLC0415  as below

    return str(segno.make(address, micro=False).svg_inline(dark="#000", light="#fff", omitsize=True))


def _rendered(server: Facts, key: str) -> dict[str, str]:
    module = _template("parts.html").module
    macros = {
        "state": partial(module.state, server),  # type: ignore[attr-defined]  # a macro of the template
        "sign-in": partial(module.sign_in, server, key, qr_code),  # type: ignore[attr-defined]  # the same
        "traffic": partial(module.traffic, server),  # type: ignore[attr-defined]  # the same
    }
    return {name: macro() for name, macro in macros.items()}


@cache
def _template(name: str) -> Template:
    from jinja2 import (  # noqa: PLC0415  40 ms and 3 MB, and few look at the page
        Environment,
        FileSystemLoader,
        StrictUndefined,
    )

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
