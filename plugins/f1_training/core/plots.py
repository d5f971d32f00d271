"""Plots as SVG, for pages that are complete in themselves: axes with units, no script, colours from the page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BELOW = 460, 220, 58, 12, 10, 40
#: Room for a bar's value at its end.
VALUE = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line through points, with a band around it where ``low`` and ``high`` are given; ``dots`` marks the points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """From values to pixels along an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where ``value`` lies."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Round values along it."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4 or 1.0))
        for factor in (1, 2, 5, 10):
            if (self.high - self.low) / (step * factor) <= 6:
                step *= factor
                break
        first = math.ceil(self.low / step)
        return [number * step for number in range(first, math.floor(self.high / step) + 1)]


def short(number: float) -> str:
    """So that labels have room beside each other."""
    if abs(number) >= 10_000:
        return f"{number / 1000:g}k"
    return f"{number:.4g}"


def lines(series: Sequence[Line], *, x: str, y: str, title: str, same: bool = False) -> str:
    """Lines over a common axis; ``x`` and ``y`` label it with their units, ``same`` marks where both are equal."""
    drawn = [line for line in series if line.x]
    if not drawn:
        return ""
    across = [v for line in drawn for v in line.x]
    up = [v for line in drawn for v in (*line.y, *line.low, *line.high) if math.isfinite(v)]
    sx = _scale(across, LEFT, LEFT + WIDTH)
    sy = _scale(up, TOP + HEIGHT, TOP)
    parts = [_axes(sx, sy, x, y)]
    low, high = max(sx.low, sy.low), min(sx.high, sy.high)
    if same and low < high:
        parts.append(f'<line class="same" x1="{sx(low)}" y1="{sy(low)}" x2="{sx(high)}" y2="{sy(high)}"/>')
    for number, line in enumerate(drawn):
        color = f"c{number % 6}"
        if line.low and line.high:
            there = [f"{sx(a)},{sy(b)}" for a, b in zip(line.x, line.high, strict=True)]
            back = [f"{sx(a)},{sy(b)}" for a, b in zip(reversed(line.x), reversed(line.low), strict=True)]
            parts.append(f'<polygon class="band {color}" points="{" ".join(there + back)}"/>')
        points = " ".join(f"{sx(a)},{sy(b)}" for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b))
        parts.append(
            f'<polyline class="line {color}" points="{points}"><title>{html.escape(line.name)}</title></polyline>'
        )
        if line.dots:
            dots = (
                f'<circle class="{color}" cx="{sx(a)}" cy="{sy(b)}" r="3"/>'
                for a, b in zip(line.x, line.y, strict=True)
            )
            parts.append("".join(dots))
    return _svg("".join(parts), TOP + HEIGHT + BELOW, title) + _legend([line.name for line in drawn])


def cells(counts: Sequence[Sequence[int]], edges: Sequence[float], *, x: str, y: str, title: str) -> str:
    """A square grid of counts, darker for more; ``counts[i][j]`` lies at the i-th bin of x and the j-th of y."""
    most = max((n for row in counts for n in row), default=0)
    if not most:
        return ""
    sx = Scale(low=edges[0], high=edges[-1], start=LEFT, end=LEFT + WIDTH)
    sy = Scale(low=edges[0], high=edges[-1], start=TOP + HEIGHT, end=TOP)
    parts = [_axes(sx, sy, x, y)]
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            if not n:
                continue
            shade = round(0.08 + 0.92 * math.sqrt(n / most), 3)
            width, height = sx(edges[i + 1]) - sx(edges[i]), sy(edges[j]) - sy(edges[j + 1])
            box = f'x="{sx(edges[i])}" y="{sy(edges[j + 1])}" width="{width:.1f}" height="{height:.1f}"'
            parts.append(f'<rect class="cell" {box} fill-opacity="{shade}"><title>{n:,} rows</title></rect>')
    ends = f'x1="{sx(edges[0])}" y1="{sy(edges[0])}" x2="{sx(edges[-1])}" y2="{sy(edges[-1])}"'
    parts.append(f'<line class="same" {ends}/>')
    return _svg("".join(parts), TOP + HEIGHT + BELOW, title)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], *, x: str, y: str, title: str) -> str:
    """A square of counts by name, darker for a larger share of its row; ``counts[i][j]`` is at row i and column j."""
    if not any(n for row in counts for n in row):
        return ""
    left, size = 140, (LEFT + WIDTH - 140) / len(counts)
    high = min(size, 44.0)
    bottom = TOP + high * len(counts)
    parts = []
    for i, row in enumerate(counts):
        top, total = TOP + high * i, sum(row)
        parts.append(f'<text x="{left - 6}" y="{top + high / 2 + 4:.1f}" text-anchor="end">{_cut(names[i], 18)}</text>')
        for j, n in enumerate(row):
            shade = round(0.06 + 0.6 * n / total, 3) if total else 0.06
            box = f'x="{left + size * j:.1f}" y="{top:.1f}" width="{size - 1:.1f}" height="{high - 1:.1f}"'
            tip = html.escape(f"{names[i]} taken for {names[j]}: {n:,} of {total:,} rows")
            parts.append(f'<rect class="cell" {box} fill-opacity="{shade}"><title>{tip}</title></rect>')
            if size >= 30:
                middle = f'x="{left + size * (j + 0.5):.1f}" y="{top + high / 2 + 4:.1f}" text-anchor="middle"'
                parts.append(f'<text class="count" {middle}>{short(n)}</text>')
    for j, name in enumerate(names):
        shown = _cut(name, max(2, int(size / 6.5)))
        parts.append(f'<text x="{left + size * (j + 0.5):.1f}" y="{bottom + 14}" text-anchor="middle">{shown}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="{LEFT + WIDTH}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(_labels((left + LEFT + WIDTH) / 2, bottom + 32, x, (TOP + bottom) / 2, y))
    return _svg("".join(parts), bottom + BELOW, title)


def bars(values: Mapping[str, float], *, x: str, y: str, title: str, notes: Mapping[str, str] | None = None) -> str:
    """A bar a name, the names at the left; ``x`` labels the axis below with its unit, ``y`` says what is named."""
    if not values:
        return ""
    row, left = 18, 205
    height = row * len(values)
    most = max(max(values.values()), 0.0) or 1.0
    scale = Scale(low=0.0, high=most, start=left, end=LEFT + WIDTH - VALUE)
    parts = []
    for number, (name, value) in enumerate(values.items()):
        top = TOP + row * number
        note = (notes or {}).get(name, "")
        parts.append(f'<text x="{left - 6}" y="{top + 13}" text-anchor="end">{_cut(name, 27)}</text>')
        length = max(0.0, scale(max(value, 0.0)) - left)
        tip = html.escape(f"{name}: {value:.5g}{f', {note}' if note else ''}")
        box = f'x="{left}" y="{top + 3}" width="{length:.1f}" height="{row - 6}"'
        parts.append(f'<rect class="bar" {box}><title>{tip}</title></rect>')
        parts.append(f'<text x="{left + length + 4:.1f}" y="{top + 13}">{short(value)}</text>')
    bottom = TOP + height
    parts.append(f'<line class="axis" x1="{left}" x2="{scale.end}" y1="{bottom}" y2="{bottom}"/>')
    parts += [
        f'<text x="{scale(tick)}" y="{bottom + 14}" text-anchor="middle">{short(tick)}</text>' for tick in scale.ticks
    ]
    parts.append(_labels((left + scale.end) / 2, bottom + 32, x, (TOP + bottom) / 2, y))
    return _svg("".join(parts), bottom + BELOW, title)


def _cut(name: str, most: int) -> str:
    return html.escape(name if len(name) <= most else f"{name[: most - 1]}…")


def _labels(across: float, below: float, x: str, up: float, y: str) -> str:
    """What the two axes are, with their units."""
    turned = f'x="12" y="{up}" text-anchor="middle" transform="rotate(-90 12 {up})"'
    return (
        f'<text class="label" x="{across}" y="{below}" text-anchor="middle">{html.escape(x)}</text>'
        f'<text class="label" {turned}>{html.escape(y)}</text>'
    )


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 1.0, high + 1.0
    room = 0.04 * (high - low) if start > end else 0.0
    return Scale(low=low - room, high=high + room, start=start, end=end)


def _axes(sx: Scale, sy: Scale, x: str, y: str) -> str:
    bottom = TOP + HEIGHT
    parts = [
        f'<line class="axis" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{bottom}" y2="{bottom}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{bottom}"/>',
    ]
    parts += [f'<text x="{sx(v)}" y="{bottom + 14}" text-anchor="middle">{short(v)}</text>' for v in sx.ticks]
    parts += [f'<text x="{LEFT - 5}" y="{sy(v) + 4}" text-anchor="end">{short(v)}</text>' for v in sy.ticks]
    parts.append(_labels(LEFT + WIDTH / 2, bottom + 32, x, TOP + HEIGHT / 2, y))
    return "".join(parts)


def _svg(inner: str, height: float, title: str) -> str:
    width = LEFT + WIDTH + RIGHT
    label = html.escape(title, quote=True)
    return f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" role="img" aria-label="{label}">{inner}</svg>'


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    items = (f'<span class="key c{number % 6}"></span>{html.escape(name)}' for number, name in enumerate(names))
    return f'<p class="legend">{" ".join(items)}</p>'
