"""The gate: does a candidate lose more than a rule tolerates, does it not, or can these samples not tell?

A rule fails where the lower one-sided 1 - alpha bound of the loss exceeds what is tolerated, and passes where the upper
bound is below, or where the same network gave the same answers. Else it is unsure, and says how large a loss these
samples would have shown and how many would settle it. Failing is Holm-adjusted over all rules of one run, so that a run
whose true losses are all tolerated fails with probability alpha at most; passing needs no adjustment, because a gate
passes only where every rule does. A rule about any cell is one of them, Bonferroni-adjusted over its cells. What is
only a warning is tested by itself and decides nothing; where there are only warnings, what lacks an answer or a
reference, or answers another question, decides as it would beside a rule that gates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.errors import UserError
from robustbench_ms.gating.findings import Finding, find
from robustbench_ms.gating.references import relation
from robustbench_ms.gating.rules import Rule
from robustbench_ms.gating.verdict import GRAVITY, State, Verdict
from robustbench_ms.records.comparison import CellLoss, Comparison, Side
from robustbench_ms.records.record import Record
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import holm

__all__ = [
    "Case",
    "Judgement",
    "check",
    "check_alpha",
    "exit_code",
    "gravest",
    "judge",
    "judge_all",
    "ungated",
]


@dataclass(frozen=True)
class Case:
    """What is judged: a candidate and what it is held against."""

    candidate: Record
    reference: Record | None
    first: Record | None = None
    """The first accepted reference, for rules of the total drift."""
    against: str = "the reference"
    """What people call the reference, and where it was looked for."""
    speeds: Mapping[str, Finding | Verdict] = field(default_factory=dict)
    """{target of a rule of speed: what times say}."""


@dataclass(frozen=True)
class Judgement:
    """All the rules on one candidate."""

    name: str
    against: str
    alpha: float
    verdicts: tuple[Verdict, ...]
    cells: tuple[CellLoss, ...]
    notes: tuple[str, ...]
    first: Metric | None = None
    """What the cells are told by; None where nothing was compared."""
    relation: tuple[str, ...] = ()
    """Who the reference is, where it is this very model or another card: said before all else."""
    sample: str = "image"
    """What one sample is called."""

    @property
    def state(self) -> State:
        """The gravest of the verdicts that decide."""
        return max((v.state for v in self.deciding), key=GRAVITY.index, default="pass")

    @property
    def deciding(self) -> tuple[Verdict, ...]:
        """Those of the rules that gate; where every rule is a warning, those that no warning excuses."""
        gating = tuple(v for v in self.verdicts if not v.rule.warn)
        return gating or tuple(v for v in self.verdicts if not v.excusable)

    def passed(self, *, lenient: bool = False) -> bool:
        """Whether the change may get in; `lenient` lets in what is unsure."""
        return self.state == "pass" or (lenient and self.state == "unsure")

    @property
    def worse_cells(self) -> tuple[CellLoss, ...]:
        """The cells that lost accuracy beyond chance, the largest loss first."""
        found = [cell for cell in self.cells if cell.p_lost <= self.alpha]
        return tuple(sorted(found, key=lambda cell: -cell.difference.mean))


def judge(
    candidate: Record,
    reference: Record | None,
    rules: Sequence[Rule],
    *,
    alpha: float = 0.05,
    first: Record | None = None,
) -> Judgement:
    """Judge one candidate; UserError for an alpha out of range or no rules. Reads records, and loads no torch."""
    return judge_all([Case(candidate, reference, first)], rules, alpha=alpha)[0]


def judge_all(cases: Iterable[Case], rules: Sequence[Rule], *, alpha: float = 0.05) -> list[Judgement]:
    """Judge the candidates of one run, whose rules share one alpha."""
    check(rules, alpha)
    cases = list(cases)
    examined = [_examine(case, rules) for case in cases]
    findings = [found for _, _, row in examined for found in row if not isinstance(found, Verdict)]
    gated = [found for found in findings if not found.rule.warn]
    level_of = {id(f): (alpha, f.p_fail <= alpha) for f in findings if f.rule.warn}
    level_of |= zip(map(id, gated), _levels([f.p_fail for f in gated], alpha), strict=True)
    judged = []
    for case, (cells, notes, row) in zip(cases, examined, strict=True):
        verdicts = tuple(
            _noted(f if isinstance(f, Verdict) else f.decide(alpha, *level_of[id(f)])) for f in row
        )
        against = "nothing" if case.reference is None else case.against
        rows = rows_of(case.candidate.task)
        told = (*notes, *ungated(verdicts))
        who = () if case.reference is None else relation(case.candidate, case.reference)
        judged.append(
            Judgement(
                case.candidate.name, against, alpha, verdicts, cells, told, rows.first, who, rows.sample
            )
        )
    return judged


def ungated(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The note of a gate whose rules are all warnings."""
    if not all(verdict.rule.warn for verdict in verdicts):
        return ()
    told = "nothing was gated: every rule is a warning"
    whole = all(verdict.excusable for verdict in verdicts)
    return (told if whole else f"{told}, and none excuses what cannot be compared",)


def _noted(verdict: Verdict) -> Verdict:
    note = verdict.rule.note
    return replace(verdict, reason=f"{verdict.reason} ({note})") if note else verdict


def exit_code(judged: Iterable[Judgement], *, lenient: bool = False) -> int:
    """Of the gravest state over all candidates: fail 1; incomparable and missing 2; unsure 1, lenient 0; pass 0."""
    state = gravest(judged)
    return {"fail": 1, "incomparable": 2, "missing": 2, "unsure": 0 if lenient else 1, "pass": 0}[state]


def gravest(judged: Iterable[Judgement]) -> State:
    """The gravest state over all candidates."""
    return max((one.state for one in judged), key=GRAVITY.index, default="pass")


def check_alpha(alpha: float) -> None:
    """UserError for one out of range: below a billionth its complement has too few digits left for a bound."""
    if not 1e-9 <= alpha < 0.5:
        raise UserError(f"alpha must be at least 1e-9 and below 0.5, not {alpha:g}; 0.05 is usual")


def check(rules: Sequence[Rule], alpha: float) -> None:
    """UserError for an alpha out of range or no rules, before anything is measured."""
    check_alpha(alpha)
    if not rules:
        raise UserError("a gate needs a rule, as --rule clean_accuracy=0.5pp")


def _levels(p_values: Sequence[float], alpha: float) -> list[tuple[float, bool]]:
    """For each hypothesis the level at which Holm's procedure tests it, and whether it is rejected there."""
    adjusted = holm(p_values)
    rejected = [p <= alpha for p in adjusted]
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    stop = sum(rejected)
    levels = [0.0] * len(p_values)
    for rank, i in enumerate(order):
        levels[i] = alpha / (len(order) - min(rank, stop))
    return list(zip(levels, rejected, strict=True))


def _examine(
    case: Case, rules: Sequence[Rule]
) -> tuple[tuple[CellLoss, ...], tuple[str, ...], list[Finding | Verdict]]:
    candidate = Side.of(case.candidate)
    last = None if case.reference is None else Comparison(candidate, Side.of(case.reference))
    total = None
    if case.first is not None and any(rule.total for rule in rules):
        total = Comparison(candidate, Side.of(case.first))
    row: list[Finding | Verdict] = []
    for rule in rules:
        pair = total if rule.total else last
        if rule.of_speed:
            untimed = Verdict(
                rule, "missing", "a record has no times; gate the model, as rbms gate SUITE -m MODEL"
            )
            row.append(case.speeds.get(rule.target, untimed))
        elif rule.floor:
            row.append(find(rule, Comparison(candidate, candidate)))
        elif pair is None:
            what = "no first reference, which rbms accept keeps" if rule.total and last else "nothing"
            row.append(Verdict(rule, "missing", f"there is {what} to compare with: {case.against}"))
        else:
            row.append(find(rule, pair))
    cells = () if last is None else tuple(last.cells())
    return cells, _notes(last, candidate.record), row


def _notes(pair: Comparison | None, candidate: Record) -> tuple[str, ...]:
    notes = [f"the candidate: {warning}" for warning in candidate.health.get("warnings", ())]
    if pair is None:
        return tuple(notes)
    reference = pair.reference.record
    if pair.one_network:
        notes.append(_alike(pair))
    apart = [
        f"{name} {candidate.made_with(name)} instead of {reference.made_with(name)}"
        for name in ("torch", "device")
        if candidate.made_with(name) != reference.made_with(name)
    ]
    if apart:
        notes.append(f"measured with {' and '.join(apart)}: what that changes counts as loss")
    return tuple(notes)


def _alike(pair: Comparison) -> str:
    """What equal digests of both networks come to."""
    first = pair.terms.rows.first.name
    keys = pair.common()
    if not keys:
        return "both networks have one digest, and no cell that both have is asked alike"
    if pair.same:
        told = "the same weights give the same raw answers as in the reference"
        whole = {*keys} == {*pair.candidate.named, *pair.reference.named}
        return told if whole else f"{told}, in the {len(keys)} cells that both have"
    bits = [side.bits(first, keys) for side in (pair.candidate, pair.reference)]
    if bits[0] is None or bits[1] is None:
        return "both networks have one digest, and not all of their answers are kept"
    changed = int(np.count_nonzero(bits[0] != bits[1]))
    if not changed:
        return "both networks have one digest and no answer changed; their scores differ, and decide what is about them"
    return f"both networks have one digest, and {changed:,} answers changed all the same: the answers decide"
