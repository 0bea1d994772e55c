"""One picture a claim: gains over rivals with their intervals, costs, numbers; and points, one a network; as SVG."""

from __future__ import annotations

from itertools import cycle
from textwrap import wrap
from xml.etree import ElementTree as ET

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b", "#7f7f7f")
"""The first seven as Okabe and Ito have them, whom few colour-blind readers mistake."""


_LETTERS = 78
"""Of a title's line in 640 pixels, as wide fonts have them."""
_SAID = {"pp": "gain in points, 95 % interval", "%": "percent, 95 % interval", "x": "how many times as many"}


def _blank(title, wide, deep):
    made = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {wide} {deep}")
    made.set("width", str(wide))
    made.set("height", str(deep))
    made.set("font-family", "sans-serif")
    made.set("font-size", "12")
    ET.SubElement(made, "title").text = title
    ET.SubElement(made, "rect", width=str(wide), height=str(deep), fill="white")
    for i, words in enumerate(wrap(title, _LETTERS)):
        ET.SubElement(made, "text", x="8", y=str(18 + 16 * i)).text = words
    return made


def forest(title, rows, unit="pp", line=0.0):
    """SVG of rows (name, mean, low, high), a dot and a line each, around an upright line where a claim ends; text.

    Of a gain ("pp") that is 0, of a cost ("x") what was claimed; of a number ("%") the first row is, and none stands.
    """
    ends = [end for _, *three in rows for end in three] + ([] if line is None else [float(line)])
    low, high = min(ends), max(ends)
    more = 0.08 * (high - low) or 1.0
    low, high = low - more, high + more
    wide, step = 640, 24
    left, top = 24 + 7 * max(len(name) for name, *_ in rows), 34 + 16 * len(wrap(title, _LETTERS))
    deep = top + step * len(rows) + 28

    def at(value):
        return f"{left + (wide - left - 16) * (value - low) / (high - low):.1f}"

    made = _blank(title, wide, deep)
    quiet = {"fill": "#5a5a5a", "font-size": "11"}
    ET.SubElement(made, "text", quiet, x="8", y=str(top - 14)).text = _SAID[unit]
    if line is not None:
        words = ET.SubElement(made, "text", {"text-anchor": "middle", **quiet}, x=at(line), y=str(top - 10))
        words.text = "0" if unit == "pp" else f"claimed: x {line:.3f}"
        ET.SubElement(
            made, "line", x1=at(line), x2=at(line), y1=str(top - 6), y2=str(deep - 24), stroke="#5a5a5a"
        )
    for i, (name, mean, least, most) in enumerate(rows):
        y = str(top + step * i + 8)
        ET.SubElement(made, "text", x="8", y=str(top + step * i + 12)).text = name
        ET.SubElement(made, "line", x1=at(least), x2=at(most), y1=y, y2=y, stroke="#0072b2")
        ET.SubElement(made, "circle", cx=at(mean), cy=y, r="4", fill="#0072b2")
    for value in (low + more, high - more):
        words = ET.SubElement(made, "text", {"text-anchor": "middle"}, x=at(value), y=str(deep - 8))
        words.text = {"pp": f"{value:+.2f} pp", "%": f"{value:.2f} %", "x": f"x {value:.3f}"}[unit]
    return ET.tostring(made, encoding="unicode") + "\n"


def scatter(title, names, points, line=()):
    """SVG of points (name, x, y), in percent, a colour a name; those of `names` that map to True are open; text.

    `line` is (x, y) of the ends and middles of a line behind them, if there is one.
    """
    wide, deep, left, right, top, bottom = 640, 400, 56, 500, 34, 360
    xs, ys = zip(*(one[1:] for one in points), strict=True)

    def scale(values, start, stop):
        low, high = min(values), max(values)
        more = 0.08 * (high - low) or 1.0
        return lambda value: start + (stop - start) * (value - low + more) / (high - low + 2 * more)

    across, up = scale(xs, left, right), scale(ys, bottom, top)
    made = _blank(title, wide, deep)
    for (x1, y1), (x2, y2) in (((left, bottom), (right, bottom)), ((left, bottom), (left, top))):
        ET.SubElement(made, "line", x1=str(x1), y1=str(y1), x2=str(x2), y2=str(y2), stroke="#5a5a5a")
    for value in (min(xs), max(xs)):
        words = ET.SubElement(
            made, "text", {"text-anchor": "middle"}, x=f"{across(value):.1f}", y=str(bottom + 16)
        )
        words.text = f"{value:.1f}"
    for value in (min(ys), max(ys)):
        words = ET.SubElement(made, "text", {"text-anchor": "end"}, x=str(left - 6), y=f"{up(value) + 4:.1f}")
        words.text = f"{value:.1f}"
    for words, x, y in (
        ("clean, %", (left + right) / 2, bottom + 32),
        ("corrupted, %", 8, (top + bottom) / 2),
    ):
        turn = {"transform": f"rotate(-90 16 {y})"} if x == 8 else {}
        ET.SubElement(
            made, "text", {"text-anchor": "middle", **turn}, x=f"{max(x, 16)}", y=f"{y}"
        ).text = words
    if len(line):
        drawn = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        ET.SubElement(made, "polyline", points=drawn, fill="none", stroke="#5a5a5a")
    look = {}
    for (name, hollow), colour in zip(names.items(), cycle(COLOURS), strict=False):
        look[name] = {"r": "4", "fill": "none" if hollow else colour, "stroke": colour}
        y = top + 20 * len(look)
        ET.SubElement(made, "circle", look[name], cx=str(right + 24), cy=str(y))
        ET.SubElement(made, "text", x=str(right + 36), y=str(y + 4)).text = name
    for name, x, y in points:
        one = ET.SubElement(made, "circle", look[name], cx=f"{across(x):.1f}", cy=f"{up(y):.1f}")
        ET.SubElement(one, "title").text = f"{name}: clean {x:.2f} %, corrupted {y:.2f} %"
    return ET.tostring(made, encoding="unicode") + "\n"
