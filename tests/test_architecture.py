"""The rules of ARCHITECTURE.md, read off the imports and calls of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.sources import FILES, MODULES, ROOT, imports, module_of, offenders, ours, room_of, tables, tree_of

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "specs": {"errors", "files"},
    "statistics": set(),
    "corruptions": {"errors"},
    "faults": {"errors", "specs", "corruptions"},
    "datasets": {"errors", "files", "specs", "corruptions", "faults"},
    "saliency": {"errors"},
    "tasks": {"errors", "specs", "statistics", "corruptions", "faults", "datasets", "saliency"},
    "catalog": {"errors", "files", "specs", "corruptions", "faults", "datasets", "tasks"},
    "fetching": {"errors", "files", "specs", "datasets", "catalog"},
    "models": {"errors"},
    "adapters": {"errors", "specs"},
    "subjects": {"errors", "files", "specs", "datasets", "tasks", "catalog", "models", "adapters"},
    "records": {"errors", "files", "specs", "statistics", "datasets", "catalog"},
    "evaluation": {
        "errors", "files", "specs", "datasets", "tasks", "catalog", "subjects", "records",
    },
    "profiling": {
        "errors", "specs", "statistics", "datasets", "tasks", "catalog", "models", "subjects", "records", "evaluation",
    },
    "gating": {
        "errors", "files", "specs", "statistics", "catalog", "subjects", "records", "evaluation", "profiling",
    },
    "reports": {"errors", "specs", "statistics", "catalog", "records", "gating"},
    "site": {
        "errors", "files", "specs", "statistics", "corruptions", "datasets", "tasks", "catalog", "records",
        "evaluation", "reports",
    },
    "contracts": {
        "errors", "specs", "datasets", "tasks", "catalog", "subjects", "evaluation", "gating", "reports",
    },
    "api": {"errors", "specs", "catalog", "records", "evaluation"},
    "compat": {"errors", "specs", "corruptions", "datasets", "catalog", "subjects", "api"},
    "pytest_plugin": {"specs", "catalog", "gating", "reports", "api"},
    "cli": {
        "errors", "files", "specs", "corruptions", "catalog", "fetching", "subjects", "records", "evaluation",
        "profiling", "gating", "reports", "site", "contracts",
    },
    "__main__": {"cli"},
    "": {"errors", "specs", "corruptions", "catalog", "records", "api"},
}  # fmt: skip
"""Each room, from the ground up, and the rooms whose names it may import: lazily and by "module:name" strings too."""

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("specs.card", "catalog.cards"): "Card.save is a thin face: a card is written where cards are read",
}
"""Arrows that a rule below would refuse, each with its reason."""

HEAVY = {
    "torch", "torchvision", "timm", "numba", "cv2", "scipy", "skimage", "sklearn", "safetensors", "PIL", "onnxruntime",
    "transformers", "pyarrow", "ray", "submitit", "mmdet", "mmengine", "mmcv", "nibabel",
}  # fmt: skip
HEAVY_ROOMS = {
    "adapters",
    "api",
    "compat",
    "contracts",
    "corruptions",
    "evaluation",
    "faults",
    "models",
    "profiling",
    "saliency",
    "subjects",
    "tasks",
}
"""Rooms that may import torch when they are imported; all the others are read without it."""
LIGHT_ALL_THE_SAME = {
    "adapters", "adapters.hf", "corruptions", "corruptions.table", "faults", "faults.table", "faults.volumes",
    "faults.volumes.elementary", "faults.volumes.table", "models", "saliency", "tasks", "tasks.activity",
    "tasks.activity.rows", "tasks.activity.measures", "tasks.scans", "tasks.scans.rows", "tasks.classification",
    "tasks.outcomes", "tasks.protocol", "tasks.scores", "tasks.measure", "tasks.calibration",
    "tasks.classification.rows", "tasks.classification.measures",
    "tasks.detection", "tasks.detection.labels", "tasks.detection.rows", "tasks.detection.measures",
    "tasks.detection.visdrone_metric", "tasks.localisation", "tasks.localisation.measures", "tasks.localisation.pairs",
    "tasks.localisation.rows", "tasks.segmentation", "tasks.segmentation.rows", "tasks.segmentation.measures",
    "tasks.voxels", "tasks.voxels.rows", "tasks.voxels.measures",
    "subjects", "evaluation", "profiling", "evaluation.measured", "evaluation.cells",
    "evaluation.checking", "evaluation.claims", "evaluation.events", "contracts", "contracts.announced",
    "contracts.code", "contracts.findings",
}  # fmt: skip
"""Of the heavy rooms what is read without torch as well."""
FACTS = {"errors", "files", "specs", "catalog"}
"""Rooms that need no array, not even lazily."""
LOOP = {
    "evaluation.answer", "evaluation.jobs", "evaluation.run", "evaluation.store", "evaluation.work",
    "evaluation.executors.actor", "evaluation.executors.devices", "evaluation.executors.local",
    "evaluation.executors.queue", "evaluation.executors.ray", "evaluation.executors.sending",
    "evaluation.executors.serving", "evaluation.executors.several", "evaluation.executors.slurm",
    "evaluation.executors.submitting",
}  # fmt: skip
"""What names no task, no model and no data set."""

OPTIONAL = {"pytest_plugin", "models.mmdet"}
"""Needs an extra to be imported at all."""

LONG: dict[str, str] = {}
"""Files over 450 lines, each with its reason."""


def arrows():
    """Every (module, module that it imports), the exceptions left out."""
    return {(one, other) for one in MODULES for other in ours(one)} - EXCEPTIONS.keys()


def test_every_name_in_this_file_is_there():
    """A rule about a name that nothing has would hold for ever."""
    assert set(ROOMS) == {room_of(module) for module in MODULES}
    assert set(ROOMS) >= HEAVY_ROOMS | FACTS
    assert LIGHT_ALL_THE_SAME | LOOP | OPTIONAL | set(LONG) | set(OF_THE_PROCESS) <= set(MODULES)
    for one, other in EXCEPTIONS:
        assert other in ours(one), f"{one} no longer imports {other}: strike the exception"
    for names in tables().values():
        assert {name.removeprefix("robustbench_ms.").rpartition(".")[0] for name in names} <= set(MODULES)


def test_imports_are_seen():
    assert "torch" in imports(MODULES["tasks.classification.task"])
    assert "tasks.classification.task" in ours("catalog.registry")  # a string
    assert "corruptions.defined.jpeg" in ours("corruptions.dispatch")  # a string of a table
    assert "corruptions.api" in ours("corruptions")  # lazily
    assert "corruptions.api" not in ours("corruptions", everywhere=False)
    assert "corruptions.table" in ours("corruptions")  # relatively


def test_rooms_stand_on_each_other():
    """The table's own order: no room imports from one above it."""
    below = set()
    for room, allowed in ROOMS.items():
        assert allowed <= below, room
        below.add(room)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_those_it_may(room):
    found = {
        (one, other)
        for one, other in arrows()
        if room_of(one) == room and room_of(other) not in {room, *ROOMS[room]}
    }

    assert not found


def test_a_room_does_import_from_those_it_may():
    """So that the table says no more than is so."""
    found = {
        room: {room_of(other) for one, other in arrows() if room_of(one) == room} - {room} for room in ROOMS
    }

    assert found == ROOMS


def test_there_is_no_circle():
    """Raises CycleError, which names it."""
    graph = {}
    for one, other in arrows():
        graph.setdefault(one, set()).add(other)

    assert list(TopologicalSorter(graph).static_order())


def test_the_loop_names_no_task_no_model_and_no_data_set():
    found = {other for one in LOOP for other in ours(one)}

    assert not {room_of(name) for name in found} & {"models", "corruptions"}
    protocols = {
        "datasets.protocol",
        "datasets.shapes",
        "tasks.protocol",
        "tasks.answers",
        "tasks.measure",
        "tasks.outcomes",
    }
    assert {name for name in found if room_of(name) in {"tasks", "datasets"}} <= protocols


LIGHT = [p for p in FILES if room_of(module_of(p)) not in HEAVY_ROOMS or module_of(p) in LIGHT_ALL_THE_SAME]


def test_what_is_read_without_torch_imports_nothing_heavy():
    assert not offenders(LIGHT, lambda p: {name.split(".")[0] for name in imports(p)} & HEAVY)


def test_facts_hold_no_arrays():
    facts = [p for p in FILES if room_of(module_of(p)) in FACTS]

    assert not offenders(
        facts, lambda p: {name.split(".")[0] for name in imports(p, everywhere=True)} & {"numpy", *HEAVY}
    )


def test_and_what_it_stands_on_does_not_either():
    """The whole of it at once, in a process that has imported nothing."""
    names = [f"robustbench_ms.{module_of(p)}".rstrip(".") for p in LIGHT if module_of(p) not in OPTIONAL]
    names.remove("robustbench_ms.__main__")
    script = (
        "import sys, importlib\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    assert not {HEAVY!r} & set(sys.modules), (name, {HEAVY!r} & set(sys.modules))\n"
    )

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def words(path):
    """What a module reads as an attribute, dotted ("sys.exit"), and the plain names that it calls ("print()")."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield f"{node.func.id}()"


OF_THE_PROCESS = {
    "subjects.guard": {"sys.stdout", "sys.stderr", "os.environ"},
    "subjects.watching": {"os._exit"},
}
"""What touches the process all the same: it puts back what a stranger's model changes, and ends what hangs."""
NOT_CLI = [p for p in FILES if room_of(module_of(p)) not in {"cli", "__main__"}]


def test_only_the_command_line_prints_exits_and_reads_its_arguments():
    forbidden = {
        "print()", "input()", "exit()", "quit()", "sys.exit", "sys.argv", "sys.stdout", "sys.stderr", "os._exit",
    }  # fmt: skip

    assert (
        offenders(NOT_CLI, lambda p: (set(words(p)) & forbidden) - OF_THE_PROCESS.get(module_of(p), set()))
        == {}
    )
    assert not offenders(
        NOT_CLI,
        lambda p: {name.split(".")[0] for name in imports(p, everywhere=True)} & {"rich", "typer", "click"},
    )


def test_only_places_reads_the_environment():
    readers = offenders(
        FILES, lambda p: set(words(p)) & {"os.environ", "os.getenv", "getenv()", "os.environb"}
    )

    assert set(readers) == {"specs.places", "subjects.guard"}


def test_no_drawer_and_no_book():
    lengths = {module_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}

    assert not {p.stem for p in FILES} & {"utils", "util", "helpers", "misc", "common", "tools"}
    assert {name: n for name, n in lengths.items() if n > 450 and name not in LONG} == {}
    assert all(lengths[name] > 450 for name in LONG)


def test_assert_is_not_for_mistakes_of_the_user():
    """`python -O` drops asserts: they may narrow a type, with nothing said to anybody."""
    told = offenders(
        FILES, lambda p: [n.lineno for n in ast.walk(tree_of(p)) if isinstance(n, ast.Assert) and n.msg]
    )

    assert not told


def test_importing_the_package_costs_nothing():
    script = "import sys, robustbench_ms; assert not {'torch', 'numpy', 'typer', 'rich'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


PARTS = {"startswith", "endswith", "removeprefix", "removesuffix"}


def guesses(path):
    """Strings that a module looks for at an end of a word, or in it, and that are a part of a metric's name."""
    from robustbench_ms.tasks.classification.rows import ROWS

    for node in ast.walk(tree_of(path)):
        asked = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PARTS:
            asked = [inner for argument in node.args for inner in ast.walk(argument)]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            # Of a set or a tuple that is written out a whole name is asked.
            asked = [] if isinstance(node.comparators[0], (ast.Set, ast.Tuple, ast.List)) else [node.left]
        for inner in asked:
            word = inner.value if isinstance(inner, ast.Constant) else None
            # "mean" is a key of a card's input as well.
            part = isinstance(word, str) and len(word) > 2 and any(word in name for name in ROWS)
            if part and word != "mean":
                yield word


def test_no_code_asks_how_a_metrics_name_begins_or_ends():
    assert not offenders(FILES, lambda p: set(guesses(p)))


def test_no_metric_is_named_outside_its_task():
    from robustbench_ms.tasks.classification.rows import ROWS

    def names(path):
        body = [node for node in tree_of(path).body if "__all__" not in ast.unparse(node)]
        return {n.value for one in body for n in ast.walk(one) if isinstance(n, ast.Constant)} & {*ROWS}

    # Windows and volumes are classified too, by the same metrics.
    classifying = ("tasks.classification", "tasks.activity", "tasks.scans")
    rest = [p for p in FILES if not module_of(p).startswith(classifying)]
    assert offenders(rest, names) == {"specs.suite": ["clean_accuracy"]}  # a suite made by hand
