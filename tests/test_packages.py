"""What installed packages announce is found, used when it is named, refused by name, and harms nothing."""

from __future__ import annotations

import sys

import pytest

from robustbench_ms.catalog import packages
from robustbench_ms.catalog.find import find_card, find_suite, suite_names
from robustbench_ms.catalog.given import given_card
from robustbench_ms.catalog.registry import DATASETS, PERTURBATIONS
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.executors import EXECUTORS
from robustbench_ms.reports.formats import write_tables
from robustbench_ms.subjects import LOADERS
from robustbench_ms.subjects.adapting import is_adapted
from tests.brought import Packages

ROW = "from robustbench_ms.datasets import DatasetInfo\nROW = DatasetInfo('nowhere:index', 'of theirs', classes=2)\n"
SUITE = 'about = "theirs"\ndataset = "{}"\nprofile = "cifar"\n[matrix]\nseverity = [1]\n'


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages that are added in a test; their modules begin with "theirs"."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    packages.look_again()
    yield Packages(site)
    monkeypatch.undo()
    packages.look_again()
    for name in [name for name in sys.modules if name.startswith("theirs")]:
        del sys.modules[name]


def refused(rbms):
    return rbms("list", "--json").json()["refused"]


def test_a_packages_suite_has_what_others_published_of_it(installed, rbms, tmp_path):
    files = {"theirs_d/__init__.py": "", "theirs_d/suites/their-suite.toml": SUITE.format("digits")}
    installed.add("their-plugin", {"folders": {"f": "theirs_d"}}, files)
    (tmp_path / "mine.csv").write_text("model,clean_accuracy\nNet,0.95\n")

    told = rbms("leaderboard", "their-suite", "--published", tmp_path / "mine.csv", "--results", tmp_path)
    assert told.code == 0, told.err
    assert "| Net   |      95.00 |" in told.out


def test_nothing_is_imported_before_it_is_named(installed, rbms):
    installed.add(
        "their-plugin",
        {"datasets": {"theirs": "theirs_a:ROW"}, "folders": {"f": "theirs_b"}},
        {
            "theirs_a.py": ROW,
            "theirs_b/__init__.py": "raise RuntimeError('folders are found without it')",
            "theirs_b/suites/their-suite.toml": SUITE.format("digits"),
            "theirs_b/baselines/their-card.toml": 'about = "theirs"\nbuild = "theirs_c:build"\n',
            "theirs_c.py": "raise RuntimeError('a plan builds no model')",
        },
    )

    assert rbms("show", "quick").code == 0
    assert rbms("plan", "their-suite", "-m", "their-card").code == 0
    assert find_suite("their-suite").about == "theirs"
    assert not [name for name in sys.modules if name.startswith("theirs")]
    assert DATASETS["theirs"].about == "of theirs"
    assert "theirs_a" in sys.modules
    told = rbms("list", "--json").json()
    assert {"package": "their-plugin", "table": "datasets", "name": "theirs"} in told["packages"]
    assert "their-suite" in {suite["name"] for suite in told["suites"]}
    assert "their-card" in {card["name"] for card in told["models"]}
    assert told["refused"] == []


def test_what_raises_on_import_is_listed_with_its_reason_and_harms_nothing(installed, rbms, tmp_path):
    installed.add(
        "broken-plugin",
        {
            "datasets": {"torn": "theirs_torn:ROW"},
            "perturbations": {"torn-too": "theirs_torn:FILM", "odd": "theirs_odd:ROW"},
            "folders": {"gone": "theirs_gone", "flat": "theirs_odd", "bare": "theirs_bare"},
        },
        {
            "theirs_torn.py": "raise SystemExit('needs a licence')",
            "theirs_odd.py": "ROW = 7",
            "theirs_bare/__init__.py": "",
        },
    )

    found = refused(rbms)

    for words in (
        "the data set 'torn' of broken-plugin cannot be imported from theirs_torn:ROW (SystemExit: needs a licence)",
        "the perturbation 'torn-too' of broken-plugin cannot be imported",
        "the perturbation 'odd' of broken-plugin (theirs_odd:ROW) is a int, not a PerturbationInfo",
        "the folder theirs_gone of broken-plugin cannot be found (there is no package theirs_gone)",
        "theirs_odd is a module and no package",
        "theirs_bare of broken-plugin has neither suites/ nor baselines/",
    ):
        assert any(words in line for line in found), words
    assert "Not used (rbms check PACKAGE says more)" in rbms("list").out
    assert find_suite("quick").matrix
    mine = tmp_path / "mine.toml"
    mine.write_text(SUITE.format("torn"))
    assert "'torn' of broken-plugin cannot be imported" in rbms("plan", mine, "-m", "digits-resnet8").err
    mine.write_text(SUITE.format("digits").replace("severity", "film"))
    told = rbms("plan", mine, "-m", "digits-resnet8").err
    assert "no axis named 'film'" in told
    assert "; the perturbation 'torn-too' of broken-plugin cannot be imported from theirs_torn:FILM" in told
    checked = rbms("check", "broken-plugin")
    assert checked.code == 1
    assert "package broken-plugin: the data set 'torn' of broken-plugin cannot" in checked.out


def test_a_shipped_name_is_refused_by_name(installed, rbms):
    row = (
        "from robustbench_ms.catalog.registry import PERTURBATIONS, PerturbationInfo\n"
        "ROW = PerturbationInfo(PERTURBATIONS['corruptions'].axes, 'theirs_row:Nothing')\n"
    )
    installed.add(
        "shadow",
        {
            "datasets": {"digits": "theirs_row:ROW"},
            "perturbations": {"other": "theirs_axes:ROW"},
            "folders": {"f": "theirs_f"},
        },
        {
            "theirs_row.py": ROW,
            "theirs_axes.py": row,
            "theirs_f/__init__.py": "",
            "theirs_f/suites/quick.toml": SUITE.format("digits"),
            "theirs_f/suites/their-own.toml": SUITE.format("digits"),
            "theirs_f/baselines/digits-resnet8.toml": 'build = "theirs_c:build"\n',
        },
    )

    found = refused(rbms)

    for words in (
        "the suite 'quick' of shadow is refused: robustbench-ms has one of that name; choose another",
        "the card 'digits-resnet8' of shadow is refused: robustbench-ms has",
        "the data set 'digits' of shadow is refused: robustbench-ms has",
        "the perturbation 'other' of shadow is refused: robustbench-ms has one with the axes corruption and severity",
        "suite their-own: 'digits' of shadow is refused, as robustbench-ms has one of that name",
    ):
        assert any(words in line for line in found), words
    assert find_suite("quick").about != "theirs"
    assert find_card("digits-resnet8").build != "theirs_c:build"
    assert DATASETS["digits"].about != "of theirs"
    assert "theirs_row" not in sys.modules  # not even to be refused
    assert rbms("check", "shadow").code == 1


def test_two_packages_of_one_name_are_both_named(installed, rbms):
    for name in ("first", "second"):
        installed.add(
            name,
            {"datasets": {"twice": f"theirs_{name}:ROW"}, "folders": {name: f"theirs_{name}_f"}},
            {
                f"theirs_{name}.py": ROW,
                f"theirs_{name}_f/__init__.py": "",
                f"theirs_{name}_f/suites/both.toml": SUITE.format("digits"),
            },
        )

    with pytest.raises(
        UserError, match="data set 'twice' is announced by first and second; one of them has to go"
    ):
        DATASETS["twice"]
    assert "both" in suite_names()
    assert "the suite 'both' is in first and second" in rbms("show", "both").err
    assert sum("is announced by first and second" in line for line in refused(rbms)) == 2


def test_a_package_that_is_checked_is_imported_alone_and_once(installed, rbms, tmp_path):
    """But for others' perturbations, of which one is used for the same axes: that is said before."""
    imports = tmp_path / "imports"
    counting = f"with open({str(imports)!r}, 'a') as file:\n    print(__name__, file=file)\nraise OSError\n"
    modules = {"theirs_mine.py": counting, "theirs_rows.py": counting, "theirs_film.py": counting}
    installed.add(
        "mine", {"datasets": {"a": "theirs_mine:ROW"}, "formats": {"b": "theirs_mine:ROW"}}, modules
    )
    installed.add("other", {"datasets": {"c": "theirs_rows:ROW"}, "perturbations": {"d": "theirs_film:ROW"}})

    told = rbms("check", "mine")

    assert imports.read_text().split() == ["theirs_mine"] * 2  # a row each
    assert [line for line in told.out.splitlines() if line.startswith("runs ")] == [
        "runs datasets: a (theirs_mine:ROW)",
        "runs formats: b (theirs_mine:ROW)",
    ]
    installed.add("third", {"perturbations": {"e": "theirs_mine:ROW"}})
    packages.look_again()
    imports.unlink()
    lines = rbms("check", "third").out.splitlines()
    assert sorted(imports.read_text().split()) == ["theirs_film", "theirs_mine"]
    assert "runs perturbations: d (theirs_film:ROW), of other, to compare with" in lines
    assert "runs perturbations: e (theirs_mine:ROW)" in lines


def test_formats_executors_and_adapters_are_announced_too(installed, tmp_path):
    code = (
        "from robustbench_ms.reports.formats import Format\n"
        "NAMES = Format('theirs_ways:names', 'names alone')\n"
        "def names(suites):\n    return ','.join(suites)\n"
        "START, READ = 'theirs_ways:start', 'theirs_ways:read'\n"
    )
    installed.add(
        "ways",
        {
            "formats": {"names": "theirs_ways:NAMES"},
            "executors": {"swarm": "theirs_ways:START"},
            "adapters": {"tflite": "theirs_ways:READ", "onnx": "theirs_ways:READ"},
        },
        {"theirs_ways.py": code},
    )

    card = find_card(f"tflite:{tmp_path}/net.tflite")

    assert (card.build, card.tasks) == ("tflite:net.tflite", ("classification",))
    assert is_adapted(card)
    assert given_card("tflite:folder/net.tflite", "net", None, {}).build == "tflite:folder/net.tflite"
    assert "theirs_ways" not in sys.modules
    assert write_tables({"a": (), "b": ()}, "names") == "a,b"
    assert EXECUTORS["swarm"] == "theirs_ways:start"
    assert LOADERS["tflite"] == "theirs_ways:read"
    assert LOADERS["onnx"].startswith("robustbench_ms.")
    told = {one.point.name: row for one, row in LOADERS.strangers()}
    assert "the adapter 'onnx' of ways is refused" in str(told["onnx"])


@pytest.mark.parametrize("word", ["timm", "torchvision", "robustbench_ms.models.segmenters.tiny_fcn"])
def test_no_adapter_takes_the_first_word_of_a_library_or_a_module(installed, word):
    installed.add("grabs", {"adapters": {word: "theirs_ways:READ"}}, {"theirs_ways.py": "READ = 'a:b'\n"})

    assert not is_adapted(find_card("timm:resnet18"))
    assert not is_adapted(find_card("scenes-fcn"))
    assert word not in LOADERS
    ((_, told),) = LOADERS.strangers()
    assert f"the adapter {word!r} of grabs is refused" in str(told)


def test_a_name_of_ours_is_not_registered_either():
    with pytest.raises(UserError, match="'corruptions' is a perturbation of robustbench-ms"):
        PERTURBATIONS.register("corruptions", PERTURBATIONS["corruptions"])
