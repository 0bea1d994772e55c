"""What outside trials do to the harness, as a driver that anyone can run: kills, flipped bits, edits, TOML, lines.

python -m tests.trials                      all of them, some minutes
python -m tests.trials --flips 50 --seed 3  fewer, and others
python -m tests.trials --write              also results/trials.md
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Tally"]


@dataclass
class Tally:
    """What became of the trials of one kind."""

    kind: str
    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """By outcome: "refused", "changed nothing"."""
    wrong: list[str] = field(default_factory=list)
    """One sentence for each trial that went as none may."""

    def add(self, outcome: str, wrong: str = "") -> None:
        """Count a trial."""
        self.tried += 1
        self.outcomes[outcome] += 1
        if wrong:
            self.wrong.append(wrong)

    @property
    def told(self) -> str:
        """ "248 refused, 52 changed nothing"."""
        return ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
