"""Bars in SVG."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape


def chart(title: str, bars: Mapping[str, float]) -> str:
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
