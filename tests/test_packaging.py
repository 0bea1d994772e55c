"""What is built is what is tested: the wheel and the source archive hold all, and an editable install is live."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from datetime import date
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

import robustbench_ms
from robustbench_ms.catalog.cards import read_card

ROOT = Path(__file__).parent.parent


HEAVY = "baselines/weights/resnet20-fast-99.safetensors"
"""Weights that stay in the repository: the wheel carries those of embedded data sets alone."""


def call(*words, **options):
    told = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **options)
    assert told.returncode == 0, f"{words}\n{told.stdout}\n{told.stderr}"
    return told.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A bare copy of what is packaged: nothing is built in, or written into, the checkout at hand."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("robustbench_ms", "suites", "baselines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENCES.md", "CITATION.cff"):
        shutil.copy(ROOT / name, folder)
    (folder / "tests").mkdir()
    (folder / HEAVY).write_bytes(b"half a megabyte")
    return folder


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """The wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "--outdir", folder, checkout)
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, archive


def layered(folder):
    """A virtual environment over the packages at hand, this project's own editable install left out."""
    venv.create(folder, with_pip=False)
    inside = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # A plain line adds the folder and reads none of the .pth files in it, which is where an editable install lives.
    (inside / "below.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin" / "python"


def install(python, what, *options):
    call(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index",
        "--no-build-isolation", "--ignore-installed", "--disable-pip-version-check", *options, what,
        env={**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]},
    )  # fmt: skip


def shipped(folder):
    names = {
        str(p.relative_to(ROOT))
        for p in (ROOT / folder).rglob("*")
        if p.suffix in {".toml", ".safetensors", ".txt"}
    }
    assert names
    return names


def carried(name):
    return not name.startswith("baselines/weights/") or name.startswith("baselines/weights/digits-")


def test_the_wheel_holds_the_code_the_suites_and_the_baselines(built):
    with zipfile.ZipFile(built[0]) as wheel:
        sizes = {entry.filename: entry.compress_size for entry in wheel.infolist()}
        names = set(sizes)
        metadata = Parser().parsestr(
            wheel.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
        )
        entry_points = wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()

    in_wheel = {n for n in shipped("suites") | shipped("baselines") if carried(n)}
    assert {f"robustbench_ms/{n}" for n in in_wheel} <= names
    assert f"robustbench_ms/{HEAVY}" not in names
    code = {str(p.relative_to(ROOT)) for p in (ROOT / "robustbench_ms").rglob("*") if p.is_file()}
    assert {n for n in code if "__pycache__" not in n} <= names
    assert "robustbench_ms/py.typed" in names
    assert all(n.startswith("robustbench_ms") for n in names)
    assert "rbms = robustbench_ms.__main__:main" in entry_points
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENCES.md", "LICENSE"]
    assert metadata["Version"] == robustbench_ms.__version__
    supported = {c.rpartition(" ")[2] for c in metadata.get_all("Classifier") if "Python :: 3" in c}
    assert supported == {"3.11", "3.12", "3.13"}
    assert metadata["Requires-Python"] == ">=3.11"
    cards = [read_card(path) for path in (ROOT / "baselines").glob("*.toml")]
    cited = {f"baselines/{w.file}" for card in cards for w in card.weights if w.file.startswith("weights/")}
    # No weights that no card names.
    assert {n for n in names if n.endswith(".safetensors")} == {
        f"robustbench_ms/{n}" for n in cited if carried(n)
    }
    assert max(sizes.values()) < 400_000
    assert built[0].stat().st_size < 15_000_000
    assert sum(size for name, size in sizes.items() if not name.endswith(".safetensors")) < 1_000_000


def test_the_source_archive_holds_what_the_wheel_is_built_from(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"pyproject.toml", "README.md", "LICENSE", "LICENCES.md", "CITATION.cff"} <= names
    assert "robustbench_ms/__init__.py" in names
    assert {n for n in shipped("suites") | shipped("baselines") if carried(n)} <= names
    assert not {n for n in names if n.endswith(".safetensors") and not carried(n)}
    assert not {n for n in names if n.startswith(("build/", "results/", "shared/", ".venv/"))}
    assert built[1].stat().st_size < 15_000_000


def test_the_wheel_alone_lists_and_measures(built, tmp_path):
    python = layered(tmp_path / "venv")
    install(python, built[0])
    away = tmp_path / "away"
    away.mkdir()
    rbms = python.parent / "rbms"

    where = call(python, "-c", "import robustbench_ms; print(robustbench_ms.__file__)", cwd=away).strip()
    assert Path(where).is_relative_to(tmp_path / "venv")
    found = json.loads(call(rbms, "list", "--json", cwd=away))
    assert {s["name"] for s in found["suites"]} == {p.stem for p in (ROOT / "suites").glob("*.toml")}
    assert {m["name"] for m in found["models"]} == {p.stem for p in (ROOT / "baselines").glob("*.toml")}
    suite = away / "one.toml"
    suite.write_text(
        'dataset = "digits"\nprofile = "cifar"\nalso = []\n[matrix]\ncorruption = ["frost"]\nseverity = [3]\n'
    )
    out = call(
        rbms, "run", suite, "-m", "digits-resnet8@0", "--limit", "60",
        "--results", "results", "--cache", "cache", "--json", cwd=away,
    )  # fmt: skip
    (record,) = json.loads(out)["records"]
    (cell,) = json.loads(Path(record["path"]).read_text())["measurements"]
    assert (cell["key"], cell["n"], cell["error"]) == ("corruption=frost,severity=3", 60, None)
    assert cell["values"]["accuracy"]["mean"] > 0.3
    told = json.loads(Path(record["path"]).read_text())["environments"][0]
    assert told["commit"] is None  # nothing was installed from a checkout, so none is claimed
    assert sorted(p.name for p in away.iterdir()) == ["cache", "one.toml", "results"]


def test_an_editable_install_sees_an_edited_suite(checkout, tmp_path):
    """As hatchling leaves it: a path to the checkout, and nothing else."""
    copy = tmp_path / "checkout"
    shutil.copytree(checkout, copy)
    python = layered(tmp_path / "venv")
    (inside,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (inside / "_editable_impl_robustbench_ms.pth").write_text(f"{copy}\n")
    rbms = (python, "-m", "robustbench_ms")

    def suites():
        return {s["name"]: s for s in json.loads(call(*rbms, "list", "--json", cwd=tmp_path))["suites"]}

    before = suites()
    quick = copy / "suites" / "quick.toml"
    quick.write_text(quick.read_text().replace("severity = [1, 2, 3, 4, 5]", "severity = [2]"))
    shutil.copy(copy / "suites" / "cifar10.toml", copy / "suites" / "mine.toml")
    after = suites()

    assert before["quick"]["cells"] == 96
    assert after["quick"]["cells"] == 20
    assert set(after) == {*before, "mine"}


def test_the_install_at_hand_reads_its_own_suites():
    """In an editable install these are the checkout's, and no copy lies among the installed files."""
    from robustbench_ms.catalog.find import shipped as found

    package = Path(robustbench_ms.__file__).parent
    assert found("suites") in {package / "suites", package.parent / "suites"}
    files = distribution("robustbench-ms").files or []
    if any(f.name.endswith(".pth") for f in files):  # the shape that the test above makes by hand
        assert not any(f.parts[0] == "robustbench_ms" for f in files)
        assert found("suites") == ROOT / "suites"


def test_a_bare_checkout_runs_without_being_installed(checkout, tmp_path):
    python = layered(tmp_path / "venv")

    told = call(python, "-m", "robustbench_ms", "show", "quick", "--json", cwd=checkout)

    assert json.loads(told)["name"] == "quick"


def test_how_to_cite_is_said_as_its_format_asks():
    """Held to the keys that Citation File Format 1.2.0 requires, and to the version at hand."""
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert {"cff-version", "message", "title", "authors"} <= facts.keys()
    assert (facts["cff-version"], facts["type"], facts["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert facts["version"] == robustbench_ms.__version__
    assert isinstance(facts["date-released"], date)
    assert f"## {facts['version']} - {facts['date-released']}" in (ROOT / "CHANGELOG.md").read_text()
    assert all({"name"} == author.keys() for author in facts["authors"])


def test_every_requirement_is_in_the_tested_set():
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}

    wanted = [
        *facts["dependencies"],
        *(r for extra in facts["optional-dependencies"].values() for r in extra),
    ]
    for requirement in wanted:
        name = requirement.partition(">=")[0].partition("[")[0].strip().lower().replace("_", "-")
        if name == facts["name"]:
            continue
        assert name in tested, f"{name} is not in constraints.txt"
        assert ">=" in requirement, f"{requirement} has no lower bound"
    assert all("@" not in line and "://" not in line for line in lines)


PAGE = """\
$ git clone somewhere

<!-- file: mine.py -->
```python
print(1)
```

```console
$ git clone nowhere
$ rbms --version
rbms 0
```

<!-- not run: it needs a cluster -->
```console
$ rbms no-such-verb
```

<!-- exit: {exit} -->
```console
$ rbms show no-such-suite
```
"""


@pytest.mark.parametrize(("exit", "code", "says"), [(2, 0, "2 commands"), (0, 1, "ended with 2")])
def test_a_release_is_walked_by_what_a_page_says(tmp_path, exit, code, says):  # noqa: A002
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(exit=exit))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "walked"), str(page)],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path},
    )  # fmt: skip

    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert (tmp_path / "mine.py").read_text() == "print(1)\n"
