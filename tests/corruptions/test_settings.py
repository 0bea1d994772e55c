"""The product's parameters beside those that the oracles have of their own, and that the oracles read no others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from robustbench_ms.corruptions.defined.zoom import factors_of
from robustbench_ms.corruptions.table import COMMON, NAMES, PROFILES, SEVERITIES, parameters
from tests.oracles import cifar_images, settings

ORACLES = sorted((Path(__file__).parents[1] / "oracles").glob("*.py"))

COMPARISONS = {
    "resnet20_parity.py": "shows a network the product's images beside the oracles'",
    "test_resnet20_parity.py": "holds what that wrote to the numbers that ship",
}
"""Files beside the oracles that import the product, each with its reason; none of them its parameters."""


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_that_of_the_sources(name):
    for profile in PROFILES:
        for severity in SEVERITIES:
            ours, theirs = parameters(name, profile, severity), settings.SETTINGS[profile][name][severity - 1]
            if name == "zoom_blur":
                ours, theirs = factors_of(*ours), tuple(theirs.tolist())
            assert ours == theirs, (profile, severity)


def test_there_are_no_others():
    assert settings.PROFILES == PROFILES
    for profile in PROFILES:
        assert set(settings.SETTINGS[profile]) == set(NAMES)
        assert {len(cells) for cells in settings.SETTINGS[profile].values()} == {len(SEVERITIES)}
    assert (cifar_images.COMMON, cifar_images.SEVERITIES) == (COMMON, SEVERITIES)


def product(path: Path) -> set[str]:
    """Names of the product that a file imports, and its strings that name the product or its table."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return {name for name in found if "robustbench_ms" in name or "severities.toml" in name}


def test_no_oracle_reads_the_product():
    found = {path.name: names for path in ORACLES if (names := product(path))}

    assert set(found) == set(COMPARISONS)
    allowed = {
        "robustbench_ms.corruptions.corrupt",
        "robustbench_ms.corruptions.table.PROTOCOL",
        "robustbench_ms.models.cifar_resnet.BasicBlock",
        "robustbench_ms.models.cifar_resnet.resnet_cifar",
    }
    assert set().union(*found.values()) == allowed
