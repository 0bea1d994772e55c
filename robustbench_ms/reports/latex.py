"""Tables as LaTeX for a paper: `booktabs` rules, escaped; the preamble needs that package alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from robustbench_ms.catalog.published import PublishedTable
from robustbench_ms.reports.cells import cells, footnotes
from robustbench_ms.reports.markdown import printable
from robustbench_ms.reports.numbers import heading, plain
from robustbench_ms.reports.tables import Table, published_of

__all__ = ["latex", "suites_latex"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\char34}", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip
_RANGE = re.compile(r"(?<=\d)-(?=\d)")


def latex(text: str) -> str:
    """Text that stays text; whitespace is one space, control characters are left out."""
    plain = "".join(c for c in re.sub(r"\s+", " ", text) if c.isprintable())
    return "".join(_SPECIAL.get(character, character) for character in plain)


def suites_latex(suites: Mapping[str, Sequence[Table]]) -> str:
    """A `table` environment for each table of several suites; what was left out is a comment."""
    parts = []
    for name, found in suites.items():
        for i, table in enumerate(found):
            if table.rows:
                parts.append(_ours(name, table, i))
            parts += [f"% Left out: {printable(' '.join(line.split()))}" for line in table.left_out]
        parts += [_published(name, one, i) for i, one in enumerate(published_of(name, found))]
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts) + "\n"


def _ours(suite: str, table: Table, number: int) -> str:
    made = cells(table)
    first = (
        [f"Another protocol, not to be compared with the others ({table.protocol})."]
        if table.protocol
        else []
    )
    notes = " ".join([*first, *footnotes(table)])
    return _environment(made, made[0].index("model"), notes, _label(suite, "", number))


def _published(suite: str, table: PublishedTable, number: int) -> str:
    made = [["model", *map(heading, table.metrics)]]
    made += [[model, *(plain(m, values[m.name]) for m in table.metrics)] for model, values in table.rows]
    told = f"Published, measured by others and never ranked with ours. {table.source}: {table.about}."
    return _environment(made, 0, told, _label(suite, "-published", number))


def _label(suite: str, what: str, number: int) -> str:
    return f"tab:{re.sub(r'[^A-Za-z0-9.-]+', '-', suite)}{what}{f'-{number + 1}' if number else ''}"


def _environment(made: Sequence[Sequence[str]], left: int, notes: str, label: str) -> str:
    """The lines of a table, the first its head, columns aligned to the right but for one."""
    columns = "".join("l" if i == left else "r" for i in range(len(made[0])))
    head, *body = (" & ".join(map(_cell, row)) + r" \\" for row in made)
    return "\n".join(
        [
            r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body,
            r"\bottomrule", r"\end{tabular}", rf"\caption{{{latex(notes)}}}", rf"\label{{{label}}}", r"\end{table}",
        ]
    )  # fmt: skip


def _cell(text: str) -> str:
    """A dash between two numbers is as wide as one, and no first letter is an argument of the rule or line above."""
    made = _RANGE.sub("--", latex(text)) if re.fullmatch(r"[\d.\s()-]+", text) else latex(text)
    return f"{{}}{made}" if made.lstrip().startswith(("[", "*")) else made
