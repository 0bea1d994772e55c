"""Models that misbehave, each beside a good one: a dozen here, all of them where it is slow."""

from __future__ import annotations

import collections
import gc
import subprocess
import sys

import pytest
import torch

from robustbench_ms.adapters.programs import Program
from robustbench_ms.evaluation.events import CellStarted, Note, RecordDone, Trouble
from robustbench_ms.records.record import read_record
from robustbench_ms.subjects.programs import as_module
from robustbench_ms.subjects.seals import Seals
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.outcomes import Items, Outcomes, unsound
from tests import fakes
from tests.running import card_of, measure, only
from tests.sources import ROOT
from tests.strangers.expected import EXPECTED
from tests.strangers.models import NAMES
from tests.trials.sections import PAGE

DOZEN = (
    "exit0", "exit0build", "kbd", "hang3", "fdprints", "closeout", "spawn", "view", "metadevice", "matmulprec",
    "mutate_gc", "nan5",
)  # fmt: skip


def driven(*names):
    return subprocess.run(
        [sys.executable, "-m", "tests.strangers", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dozen_strangers_harm_themselves_alone():
    done = driven(*DOZEN)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("12 tried, 0 wrong: ")


@pytest.mark.slow
def test_all_strangers_harm_themselves_alone():
    done = driven()

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{len(NAMES)} tried, 0 wrong: ")


def test_the_page_has_all_of_them():
    assert f"| models | {len(NAMES)} | 0 | " in PAGE.read_text(encoding="utf-8")


def test_something_is_expected_of_each():
    assert set(EXPECTED) == set(NAMES)
    assert set(DOZEN) <= set(NAMES)


class Later(fakes.Coarse):
    """Answers otherwise from its n-th call on."""

    def __init__(self, change, calls=4, seed=5):
        super().__init__(seed)
        self.change, self.left = change, calls

    def forward(self, images):
        self.left -= 1
        answer = super().forward(images)
        return self.change(answer) if self.left < 0 else answer


def one_nan(answer):
    answer[3, 2] = torch.nan
    return answer


def one_infinity(answer):
    answer[3, 2] = torch.inf
    return answer


def test_a_cell_without_numbers_fails_alone(tiny, places):
    odd = Later(one_nan, calls=5)  # from its second cell on; the third is right again
    events = measure(tiny, [card_of(odd, "odd"), card_of(fakes.build(), "good")], places)

    (first, *others) = only(events, Trouble)
    assert (first.card, first.stopped) == ("odd", False)
    assert first.message == "corruption=brightness,severity=1: NaN for 1 of 40 images, first 3"
    assert len(others) == 3
    records = {e.record.name: e.record for e in only(events, RecordDone)}
    assert [bool(m.error) for m in records["odd"].measurements] == [False, True, True, True, True]
    assert records["odd"].measurements[1].values == {}
    assert not any(m.error for m in records["good"].measurements)
    again = read_record(places.results / "tiny" / "odd.json")
    assert again.measurements[1].error == "NaN for 1 of 40 images, first 3"


def test_infinity_is_told_apart(tiny, places):
    events = measure(tiny, [card_of(Later(one_infinity))], places)

    assert only(events, Trouble)[0].message == "clean: infinity for 1 of 40 images, first 3"


def test_of_a_label_that_has_probability_0_nll_alone_is_absent(tiny, places, pictures):
    def never_nine(answer):
        return torch.cat([answer[:, :9], torch.full((len(answer), 1), -torch.inf)], 1)

    (done,) = only(measure(tiny, [card_of(Later(never_nine, calls=0))], places), RecordDone)

    nines = int((pictures[1] == 9).sum())
    for cell in done.record.measurements:
        assert cell.error is None
        assert cell.absent == {
            "nll": f"the label's logit is -inf, a probability of 0, for {nines} of 40 images"
        }
        assert {"accuracy", "brier", "ece"} <= cell.values.keys()
    assert "nll_clean" not in done.record.samples().scores


def test_nan_on_the_probe_is_a_warning_and_the_cells_decide(tiny, places):
    class Once(fakes.Coarse):
        """NaN for the probe's noise, eight images or parts of them, and never after."""

        def forward(self, images):
            answer = super().forward(images)
            return answer * torch.nan if len(images) < 9 else answer

    first, second = (
        only(measure(tiny, [card_of(Once(), "net")], places), kind) for kind in (Note, CellStarted)
    )

    assert any("answers NaN or infinity on noise" in note.message for note in first)
    assert not any(
        "nondeterministic" in note.message or "depends on the batch" in note.message for note in first
    )
    assert not second  # it was known again, by the bytes of its answers


def test_a_static_buffer_answers_as_a_model_without_one(tiny, places, tmp_path):
    class Static(fakes.Coarse):
        def __init__(self):
            super().__init__()
            self.room = torch.zeros(64, 10)

        def forward(self, images):
            self.room[: len(images)] = super().forward(images)
            return self.room[: len(images)]

    static, plain = (
        measure(
            tiny,
            [card_of(model, "net")],
            type(places)(places.data, tmp_path / n, tmp_path / f"{n}-c"),
            batch_size=16,
        )
        for model, n in ((Static(), "static"), (fakes.build(), "plain"))
    )

    assert not [note for note in only(static, Note) if "depends on the batch" in note.message]
    mine, theirs = (only(events, RecordDone)[0].record for events in (static, plain))
    assert mine.subject["digest"] == theirs.subject["digest"]
    assert [m.values for m in mine.measurements] == [m.values for m in theirs.measurements]


class Vandal(fakes.Coarse):
    """Finds what its neighbours are shown by the garbage collector; counts its calls, of which four are the probe."""

    def __init__(self, zeroes, raises):
        super().__init__(5)
        self.zeroes, self.raises, self.calls = zeroes, raises, 0

    def forward(self, images):
        self.calls += 1
        for one in gc.get_objects() if self.calls == self.zeroes else ():
            # By its very type: what is asked otherwise may be a module that warns.
            if type(one) is torch.Tensor and one.dtype == torch.uint8 and one.shape == (16, 3, 32, 32):
                one.zero_()
        if self.calls == self.raises:
            raise ValueError("caught")
        return super().forward(images)


def beside(bad, suite, places):
    """The records of a run of two, and of what was told of trouble."""
    events = measure(suite, [card_of(bad, "bad"), card_of(fakes.build(), "good")], places, batch_size=16)
    return {e.record.name: e.record for e in only(events, RecordDone)}, only(events, Trouble)


def test_a_model_that_raises_after_it_changed_the_batch_costs_no_other_its_numbers(tiny, places, tmp_path):
    records, told = beside(Vandal(zeroes=5, raises=5), tiny, places)
    alone, _ = beside(
        Vandal(zeroes=0, raises=5), tiny, type(places)(places.data, tmp_path / "r", tmp_path / "c")
    )

    assert [(one.card, one.message) for one in told] == [("bad", "clean: ValueError: caught")]
    assert records["good"].answers() == alone["good"].answers()


def test_where_no_batch_is_waited_for_one_that_raises_later_has_changed_it_all_the_same(
    tiny, places, monkeypatch
):
    """As on CUDA, where a change is known at the end of a condition."""
    monkeypatch.setattr("robustbench_ms.evaluation.answer.Seals", lambda _: Seals(torch.device("cuda")))

    records, told = beside(Vandal(zeroes=5, raises=6), tiny, places)

    spoilt = "it was shown images that model bad had changed"
    assert [(one.card, one.message) for one in told] == [
        ("bad", "clean: ValueError: caught"),
        ("good", f"clean: {spoilt}"),
    ]
    assert [m.error for m in records["good"].measurements] == [spoilt, None, None, None, None]


def test_a_model_that_cannot_be_loaded_is_named_once_and_the_rest_runs(tiny, places, rbms):
    found = rbms("run", tiny, "-m", "tests.fakes:breaks", "-m", "tests.fakes:build", "--json")

    assert found.code == 1
    assert found.json()["stopped"] == [
        {
            "card": "tests.fakes:breaks",
            "message": "tests.fakes:breaks could not be called (RuntimeError: the constructor fails)",
        }
    ]
    assert (places.results / "tiny" / "tests.fakes-build.json").exists()


def test_a_time_for_a_batch_is_some_seconds(tiny, rbms):
    found = rbms("run", tiny, "-m", "tests.fakes:build", "--timeout", "0")

    assert (found.code, found.err) == (2, "rbms: timeout must be some seconds, not 0\n")


Outputs = collections.namedtuple("Outputs", "loss logits hidden")  # noqa: PYI024 - as people write them


@pytest.mark.parametrize(
    ("wrap", "note"),
    [
        (lambda y: Outputs(None, y, None), None),
        (lambda y: Outputs(y.sum(), y, None), None),
        (lambda y: {"logits": y, "features": None}, None),
        (lambda y: (y, y), None),
        (lambda y: [y], None),
        (lambda y: (y, y.mean()), None),
        (lambda y: (y, -y), "it answers with 2 tensors, of which the first is taken"),
    ],
)
def test_logits_are_found_in_what_models_answer_with(wrap, note):
    logits = torch.arange(20.0).reshape(2, 10)
    answers = Answers(wrap(logits))

    assert torch.equal(answers.tensor, logits)
    assert answers.note == note


def test_features_before_logits_are_told_with_what_helps(tiny, places):
    with pytest.raises(
        Exception, match=r"answers for 3 classes.* the first of the 2 .* returns the logits alone"
    ):
        measure(tiny, [card_of(Later(lambda y: (y[:, :3], y), calls=0))], places)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["module", "program", "any batch", "traced", "scripted", "frozen"])
def test_programs_at_hand_answer_as_the_network(tiny, places, tmp_path, kind):
    network = fakes.build().eval()
    shown = torch.rand(8, 3, 32, 32)
    made = {
        "module": lambda: torch.export.export(network, (shown,)).module(),
        "program": lambda: torch.export.export(network, (shown,)),
        "any batch": lambda: torch.export.export(
            network, (shown,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        ),
        "traced": lambda: torch.jit.trace(network, shown),
        "scripted": lambda: torch.jit.script(network),
        "frozen": lambda: torch.jit.freeze(torch.jit.script(network)),
    }[kind]()
    import robustbench_ms

    options = {
        "batch_size": 16,
        "cache": tmp_path / "c",
        "results": tmp_path / "r",
        "on_event": lambda event: None,
    }
    (record,) = robustbench_ms.run(str(tiny), [made], **options)
    (plain,) = robustbench_ms.run(str(tiny), [network], **options)

    assert [m.values["accuracy"] for m in record.measurements] == [
        m.values["accuracy"] for m in plain.measurements
    ]
    assert not any("train mode" in told for told in record.health["warnings"])


def test_an_export_for_a_fixed_batch_is_padded_and_cut():
    network = fakes.build().eval().double()  # in float32 a logit near 0 is another one beyond what is allowed
    program = as_module(torch.export.export(network, (torch.rand(8, 3, 32, 32, dtype=torch.float64),)))
    shown = torch.rand(19, 3, 32, 32, dtype=torch.float64)

    assert isinstance(program, Program)
    assert program.inputs[0][0] == 8
    for count in (1, 7, 8, 19):
        assert torch.allclose(program(shown[:count]), network(shown[:count]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_program_is_no_file_of_weights(tmp_path, tiny, rbms):
    torch.jit.script(fakes.build()).save(tmp_path / "scripted.pt")

    found = rbms("run", tiny, "-m", "tests.fakes:build", "--weights", tmp_path / "scripted.pt")

    assert found.code == 2
    assert "scripted.pt is a program (TorchScript or torch.export) and not weights" in found.err


def test_samples_are_named_whose_items_are_no_numbers():
    import numpy as np

    scores = np.array([0.5, np.nan, np.inf, 0.1], dtype=np.float32)
    found = Outcomes(
        {"nll": np.array([1, np.inf, 0], dtype=np.float32)},
        {"boxes": Items(np.array([0, 0, 2, 2]), {"score": scores})},
    )

    nan, infinite = unsound(found, {"nll"})

    assert nan.tolist() == [True, False, False]
    assert infinite.tolist() == [False, False, True]
    assert unsound(found)[1].tolist() == [False, True, True]


@pytest.mark.slow
def test_a_cell_that_came_to_nothing_is_given_to_no_other_worker(tiny, places):
    events = measure(
        tiny, [card_of_path("tests.fakes:nan_later"), card_of_path("tests.fakes:build")], places, workers=2
    )

    told = [event for event in only(events, Trouble) if not event.stopped]
    assert len(told) == len({event.message for event in told}) > 0
    records = {e.record.name: e.record for e in only(events, RecordDone)}
    assert len(records["tests.fakes:nan_later"].measurements) == 5


def card_of_path(spelled):
    from robustbench_ms.catalog.find import find_card

    return find_card(spelled)
