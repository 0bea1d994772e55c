"""One picture a claim: gains over rivals with their intervals, costs, numbers; as SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET


def forest(title, rows, unit="pp", line=0.0):
    """SVG of rows (name, mean, low, high), a dot and a line each, around an upright line where a claim ends; text.

    Of a gain ("pp") that is 0, of a cost ("x") what was claimed; of a number ("%") the first row is, and none stands.
    """
    ends = [end for _, *three in rows for end in three] + ([] if line is None else [float(line)])
    low, high = min(ends), max(ends)
    more = 0.08 * (high - low) or 1.0
    low, high = low - more, high + more
    wide, left, top, step = 640, 230, 34, 24
    deep = top + step * len(rows) + 28

    def at(value):
        return f"{left + (wide - left - 16) * (value - low) / (high - low):.1f}"

    made = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {wide} {deep}")
    made.set("width", str(wide))
    made.set("height", str(deep))
    made.set("font-family", "sans-serif")
    made.set("font-size", "12")
    ET.SubElement(made, "title").text = title
    ET.SubElement(made, "rect", width=str(wide), height=str(deep), fill="white")
    ET.SubElement(made, "text", x="8", y="18").text = title
    if line is not None:
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
