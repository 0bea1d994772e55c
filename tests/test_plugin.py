"""The pytest fixture and the GitHub action, inside a project that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

NETS = """\
import torch
from torch import nn


class Coarse(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(48, 10)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(10, 48))
            self.head.bias.zero_()

    def forward(self, images):
        return self.head(nn.functional.adaptive_avg_pool2d(images, 4).flatten(1))


class Edited(Coarse):
    def forward(self, images):
        return super().forward(images.flip(-1))


def build():
    return Coarse()


def edited():
    return Edited()
"""

SUITE = """\
about = "two hundred images"
dataset = "arrays"
profile = "cifar"
classes = 10
gate = ["accuracy[clean]=20pp", "accuracy[corruption=brightness]=20pp"]

[matrix]
corruption = ["brightness"]
severity = [1, 3]

[files]
images = "images.npy"
labels = "labels.npy"
"""

TESTS = """\
import numpy
import pytest
import robustbench_ms as rbms
from nets import Edited, build, edited

HERE = "records/images/build.json"


def test_the_same(rbms_gate):
    (judged,) = rbms_gate("images.toml", model=build, against=HERE)
    assert judged.state == "pass"
    assert {v.changed for v in judged.verdicts} == {0}


def test_a_folder_and_a_spelling(rbms_gate):
    rbms_gate("images.toml", "nets:build", name="build", against="records")


def test_edited(rbms_gate):
    rbms_gate("images.toml", model=edited, against=HERE)


def test_a_module_keeps_its_mode(rbms_gate):
    module = Edited().train()
    with pytest.raises(pytest.fail.Exception):
        rbms_gate("images.toml", module, against=HERE)
    assert module.training


def test_own_rules(rbms_gate):
    rbms_gate("images.toml", model=edited, against=HERE, rules="accuracy[clean]=100pp")


def test_unsure(rbms_gate):
    rbms_gate("images.toml", model=edited, against=HERE, rules=["nll[clean]=0.39nats"], lenient=True)


def test_nothing_to_compare_with(rbms_gate):
    rbms_gate("images.toml", model=build, name="stranger", against="records", lenient=True)


def test_a_rule_that_does_not_parse(rbms_gate):
    with pytest.raises(rbms.UserError, match="no metric named 'acuracy'"):
        rbms_gate("images.toml", model=build, against=HERE, rules=["acuracy[clean]=1pp"])
"""

CONFTEST = """\
import sys


def pytest_collection_modifyitems(config):
    ours = {name for name in sys.modules if name.startswith("robustbench_ms.")} - {"robustbench_ms.pytest_plugin"}
    heavy = sorted({"torch", "numpy", "typer"} & set(sys.modules) | ours)
    config.pluginmanager.get_plugin("terminalreporter").write_line(f"loaded at start: {heavy}")
"""


def environment(project):
    """This process's, with the project's folders and none of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RBMS_", "PYTEST_", "GITHUB_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "RBMS_CACHE": str(project / "cache"), "OMP_NUM_THREADS": "1"}


def call(project, *words, **more):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=project, env={**environment(project), **more}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model, a suite and a committed record of it."""
    root = tmp_path_factory.mktemp("project")
    random = np.random.default_rng(0)
    # The class is which of sixteen blocks is bright, so that the model is right, and wrong before a mirror.
    labels = np.arange(200) % 10
    blocks = random.integers(0, 100, (200, 16, 3))
    blocks[np.arange(200), labels] += 100
    images = np.repeat(np.repeat(blocks.reshape(200, 4, 4, 3), 8, axis=1), 8, axis=2).astype(np.uint8)
    np.save(root / "images.npy", images)
    np.save(root / "labels.npy", labels)
    (root / "images.toml").write_text(SUITE)
    (root / "nets.py").write_text(NETS)
    (root / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    done = call(
        root,
        "robustbench_ms",
        "run",
        "images.toml",
        "-m",
        "nets:build",
        "--name",
        "build",
        "--results",
        "records",
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((root / "records" / "images" / "build.json").read_text())
    assert told["measurements"][0]["values"]["accuracy"]["mean"] > 0.9
    return root


def test_the_fixture_in_a_project_of_its_own(project):
    (project / "test_model.py").write_text(TESTS)
    done = call(project, "pytest", "-q", "--junitxml", "report.xml", "-p", "no:cacheprovider")
    cases = {case.get("name"): case for case in ET.parse(project / "report.xml").iter("testcase")}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}

    assert failed == {"test_edited", "test_nothing_to_compare_with"}, done.stdout
    assert len(cases) == 8
    assert not [case for case in cases.values() if case.find("error") is not None]
    told = cases["test_edited"].find("failure").text
    assert "`accuracy[clean]=20pp` fail: it loses" in told
    assert "Traceback" not in told
    assert "pytest_plugin.py" not in told
    assert "nothing to compare with" in cases["test_nothing_to_compare_with"].find("failure").text
    properties = {p.get("name"): p.get("value") for p in cases["test_edited"].iter("property")}
    assert properties["edited accuracy[clean]=20pp"].startswith("fail: it loses")


def test_the_fixture_costs_a_project_nothing_until_it_is_used(project, tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    # jaxtyping, which an oracle of the tests brings, has a plugin that loads numpy.
    quiet = ("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:jaxtyping")
    done = call(tmp_path, *quiet)

    assert "loaded at start: []" in done.stdout
    assert "rbms_gate" in call(tmp_path, "pytest", "--fixtures", "-p", "no:cacheprovider").stdout


ROOT = Path(__file__).parent.parent


def read_yaml(path):
    yaml = pytest.importorskip("yaml", reason="timm's YAML reader is not installed")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def act(project, inputs):
    """Run the action's last step as a runner would: inputs and defaults become its variables, bash -e its shell."""
    action = read_yaml(ROOT / "action.yml")
    step = action["runs"]["steps"][-1]
    values = {name: str(told.get("default", "")) for name, told in action["inputs"].items()} | inputs
    variables = {
        name: values[told.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, told in step["env"].items()
    }
    summary = project / "summary.md"
    summary.write_text("")
    (project / "output").write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]], cwd=project, check=False,
        env={**environment(project), **variables, "GITHUB_STEP_SUMMARY": str(summary),
             "GITHUB_OUTPUT": str(project / "output")}, capture_output=True, text=True,
    )  # fmt: skip
    return done, summary.read_text()


def outputs_of(project):
    """What the step told its runner."""
    lines = (project / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_action_fails_a_pull_request_that_lost_and_lets_in_one_that_did_not(project):
    given = {
        "target": "images.toml",
        "against": "records/images/build.json",
        "rules": "\naccuracy[clean]=20pp\n",
    }
    same, told = act(project, {**given, "models": "nets:build\n"})
    outputs = outputs_of(project)
    edited, why = act(project, {**given, "models": "nets:edited\n"})

    assert same.returncode == 0, same.stderr
    assert "::notice title=rbms gate::nets:build: 1 rules hold" in same.stdout
    assert told.startswith("## Robustness gate")
    assert outputs["state"] == "pass"
    assert Path(outputs["summary"]).read_text() == told
    assert json.loads(Path(outputs["json"]).read_text())["candidates"][0]["name"] == "nets:build"
    assert edited.returncode == 1, edited.stderr
    assert outputs_of(project)["state"] == "fail"
    assert "::error title=rbms gate%3A accuracy[clean]=20pp fail::nets:edited: it loses" in edited.stdout
    assert "| `accuracy[clean]=20pp` |" in why
    assert "**fail**" in why


def test_no_verdict_is_a_failure_whatever_the_process_says(project):
    nets = project / "nets.py"
    nets.write_text(nets.read_text() + "\n\ndef ends():\n    import os\n\n    os._exit(0)\n")

    given = {
        "target": "images.toml",
        "against": "records/images/build.json",
        "models": "nets:ends",
        "rules": "accuracy[clean]=20pp",
    }
    done, told = act(project, given)

    assert done.returncode == 1, done.stderr
    assert "::error title=Robustness gate::no verdict was written" in done.stdout
    assert not told


def test_the_action_takes_inputs_for_words_and_not_for_code(project):
    done, _ = act(
        project, {"target": "$(touch broken)", "models": "`touch broken`; touch broken", "rules": "--help"}
    )

    assert done.returncode == 2
    assert not (project / "broken").exists()
    for step in read_yaml(ROOT / "action.yml")["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_the_action_hands_on_what_is_of_one_model(project):
    """Of a device that is none, exit 2 with the sentence of the command as an annotation."""
    given = {"target": "images.toml", "models": "nets:build", "against": "records/images/build.json"}
    done, _ = act(project, {**given, "rules": "accuracy[clean]=20pp", "device": "tpu", "name": "mine"})

    assert done.returncode == 2
    assert "::error title=Robustness gate::" in done.stdout
    assert "tpu" in done.stdout


def test_the_action_judges_a_record_with_every_input_given(project):
    done, _ = act(
        project,
        {
            "target": "records/images/build.json", "against": "records/images/build.json", "alpha": "0.01",
            "rules": "accuracy[clean]=1pp\naccuracy[corruption=brightness,severity=3]=1pp", "lenient": "true",
            "results": "records", "data": "data\ncifar10=elsewhere", "cache": "cells",
        },
    )  # fmt: skip

    assert done.returncode == 2
    assert "::error title=Robustness gate::" in done.stdout
    assert "cannot be its own reference" in done.stdout
    assert outputs_of(project) == {}
    assert "cannot be its own reference" in done.stderr


def test_our_own_workflow_gives_the_action_what_it_knows():
    from robustbench_ms.catalog.find import find_card, find_suite
    from robustbench_ms.gating.run import rules_of

    action = read_yaml(ROOT / "action.yml")
    (job,) = read_yaml(ROOT / ".github" / "workflows" / "gate.yml")["jobs"].values()
    (given,) = [step["with"] for step in job["steps"] if step.get("uses") == "./"]

    assert set(given) <= set(action["inputs"])
    assert rules_of(find_suite(given["target"]))
    assert [find_card(name).name for name in given["models"].split()] == given["models"].split()
