"""Suites and cards in TOML: every mistake names its file, the wrong word and the likely right one."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.catalog.cards import read_card, write_card
from robustbench_ms.catalog.find import find_card, find_suite, suite_names
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Input, Published, Weights

SUITE_MISTAKES = {
    'dataset = "cifra10"': ("cifra10", "did you mean 'cifar10'"),
    'datset = "cifar10"': ("datset", "did you mean 'dataset'"),
    'dataset = "digits"\nprofle = "cifar"': ("profle", "did you mean 'profile'"),
    'dataset = "digits"\nprofle = "cifar"\n[matrix]\nseverity = [1]': ("profle", "did you mean 'profile'"),
    'dataset = "digits"\nprofile = "cifra"': ("cifra", "did you mean 'cifar'"),
    'dataset = "digits"\nsplit = "tset"': ("tset", "did you mean 'test'"),
    'dataset = "digits"\ntask = "clasification"': ("clasification", "did you mean 'classification'"),
    'dataset = "digits"\nsummary = ["clean_acuracy"]': ("clean_acuracy", "did you mean 'clean_accuracy'"),
    'dataset = "digits"\nsummary = ["accuracy"]': ("'accuracy'", "did you mean 'clean_accuracy'"),
    'dataset = "digits"\nsummary = []': ("summary", "ranks"),
    'dataset = "digits"\nsummary = ["clean_nll", "clean_nll"]': ("summary", "twice"),
    'dataset = "cifar10"\nsummary = ["mce"]': ("cifar10", "mean_corruption_error"),
    'dataset = "digits"\nalso = []': ("no cell", "[matrix]"),
    'dataset = "digits"\nalso = ["claen"]': ("claen", "did you mean 'clean'"),
    'dataset = "digits"\nalso = ["clean", "clean"]': ("also", "twice"),
    'dataset = "digits"\nseed = "1"': ("seed", "whole number"),
    'dataset = "digits"\nseed = 1.5': ("seed", "whole number"),
    'dataset = "digits"\nseed = true': ("seed", "whole number"),
    'dataset = "digits"\nlimit = 0': ("limit", "1 or more"),
    'dataset = "digits"\nencode = "png"': ("encode", "jpeg-QUALITY"),
    'dataset = "digits"\nencode = "jpeg-101"': ("encode", "1..100"),
    'dataset = "digits"\nclasses = 9': ("classes must be 10", "9"),
    'dataset = "digits"\nabout = 3': ("about", "a string"),
    'dataset = "digits"\nsummary = "clean_accuracy"': ("summary", "a list"),
    'dataset = "digits"\nsummary = [1]': ("summary", "list of strings"),
    'dataset = "digits"\nmatrix = 3': ("matrix", "a table"),
    'dataset = "digits"\n[matrix]\nseverity = [1]': ("profile", "cifar"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\ncorruption = ["fgo"]': ("fgo", "did you mean 'fog'"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\ncorruption = "fog"': ("corruption", '["fog"]'),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\ncorruption = "comon"': (
        "comon",
        "did you mean 'common'",
    ),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\ncorruption = []': ("corruption", "something in it"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\ncorruption = ["fog", "fog"]': ("'fog'", "twice"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\nseverity = [0]': ("severity", "1, 2, 3, 4 or 5, not 0"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\nseverity = [6]': ("severity", "1, 2, 3, 4 or 5, not 6"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\nseverity = 3': ("severity", "a list"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\nseverity = ["3"]': ("severity", "'3'"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\nseverity = [true]': ("severity", "True"),
    'dataset = "digits"\nprofile = "cifar"\n[matrix]\nsverity = [1]': ("sverity", "did you mean 'severity'"),
    'dataset = "cifar10-c"\nprofile = "cifar"\n[matrix]\nseverity = [1]': ("brings", "no profile"),
    'dataset = "cifar10-c"\nencode = "jpeg-85"\n[matrix]\nseverity = [1]': ("brings", "no encode"),
    'dataset = "cifar10-c"\nsplit = "train"': ("train", "test"),
    'dataset = "arrays"': ("files", "images"),
    'dataset = "arrays"\n[files]\nimages = "a.npy"\nlabels = "b.npy"': ("classes", "how many"),
    'dataset = "arrays"\nclasses = 1\n[files]\nimages = "a.npy"\nlabels = "b.npy"': ("classes", "2 or more"),
    'dataset = "arrays"\nclasses = 2\n[files]\nimages = "../a.npy"\nlabels = "b.npy"': ("images", "inside"),
    'dataset = "arrays"\nclasses = 2\n[files]\nimages = "/a.npy"\nlabels = "b.npy"': ("images", "inside"),
    'dataset = "digits"\n[files]\nimages = "a.npy"': ("no key named 'files'", ""),
    'dataset = "digits"\n[sha256]\nimags = "00"': ("imags", "did you mean 'images'"),
    'dataset = "digits"\n[sha256]\nimages = "00"': ("images", "64"),
    'dataset = "digits"\ncanvas = "model"': ("canvas", "must be 'stored'"),
    'dataset = "digits"\ncanvas = "modle"': ("modle", "did you mean 'model'"),
    'dataset = "digits"\ncanvas = {shrot = 256, crop = 224}': ("shrot", "did you mean 'short'"),
    'dataset = "digits"\ncanvas = {short = 0, crop = 224}': ("short", "1 or more"),
    'dataset = "digits"\ncanvas = {short = 8, crop = 8, mode = "centre"}': (
        "centre",
        "did you mean 'center'",
    ),
    'dataset = "digits': ("not valid TOML", "end of document"),
    "dataset = digits": ("not valid TOML", "line 1"),
    "seed = " + "9" * 5000: ("not valid TOML", ""),
    "a = " + "[" * 5000: ("not valid TOML", ""),
}


@pytest.mark.parametrize(
    ("text", "words"), SUITE_MISTAKES.items(), ids=lambda v: v[:60] if isinstance(v, str) else ""
)
def test_a_mistake_in_a_suite_names_the_file_the_word_and_the_likely_right_one(tmp_path, rbms, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    found = rbms("run", path, "-m", "digits-resnet8@0")

    assert found.code == 2
    assert found.out == ""
    for word in (str(path), *words):
        assert word in found.err
    assert found.err.count("\n") == 1
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache").exists()


CARD_MISTAKES = {
    "": ("build", "missing"),
    'biuld = "a:b"': ("biuld", "did you mean 'build'"),
    'build = "mypkg.nets"': ("mypkg.nets", "package.module:function"),
    "build = 3": ("build", "a string"),
    'build = "a:b"\nprecison = "fp32"': ("precison", "did you mean 'precision'"),
    'build = "a:b"\nprecision = "fp23"': ("fp23", "did you mean 'fp32'"),
    'build = "a:b"\nmemory_format = "channel_last"': ("channel_last", "did you mean 'channels_last'"),
    'build = "a:b"\nuntrained = 1': ("untrained", "true or false"),
    'build = "a:b"\ntasks = ["clasification"]': ("clasification", "did you mean 'classification'"),
    'build = "a:b"\n[input]\nsize = 0': ("size", "positive"),
    'build = "a:b"\n[input]\nsiez = 32': ("siez", "did you mean 'size'"),
    'build = "a:b"\n[input]\ncrop = 1.5': ("crop", "at most 1"),
    'build = "a:b"\n[input]\ncrop = nan': ("crop", "a number"),
    'build = "a:b"\n[input]\ncrop = 1' + "0" * 400: ("crop", "a number"),
    'build = "a:b"\n[input]\nfit = "corp"': ("corp", "did you mean 'crop'"),
    'build = "a:b"\n[input]\ninterpolation = "bilinaer"': ("bilinaer", "did you mean 'bilinear'"),
    'build = "a:b"\n[input]\nrange = [1, 0]': ("range", "smaller first"),
    'build = "a:b"\n[input]\nmean = [0.5, 0.5]': ("mean", "1 or 3"),
    'build = "a:b"\n[input]\nmean = ["0.5"]': ("mean", "list of numbers"),
    'build = "a:b"\n[input]\nmean = [true]': ("mean", "list of numbers"),
    'build = "a:b"\n[input]\nmean = [inf]': ("mean", "list of numbers"),
    'build = "a:b"\n[input]\nmean = [0.5]\nstd = [0.5, 0.5, 0.5]': ("std", "as many"),
    'build = "a:b"\n[input]\nstd = [0.5, 0, 0.5]': ("std", "positive"),
    'build = "a:b"\n[input]\nchannels = "rgb"': ("rgb", "did you mean 'RGB'"),
    'build = "a:b"\nweights = "w.safetensors"': ("weights", "a table"),
    'build = "a:b"\n[weights]\nfiel = "w"': ("fiel", "did you mean 'file'"),
    'build = "a:b"\n[weights]\nfile = "/w"': ("file", "inside"),
    'build = "a:b"\n[weights]\nfile = "../w"': ("file", "inside"),
    'build = "a:b"\n[weights]\nfile = "w"\nsha256 = "AB"': ("sha256", "64 lower-case"),
    'build = "a:b"\n[[weights]]\nfile = "w"\n[[weights]]\nfile = "v"': ("seed", "different"),
    'build = "a:b"\n[[weights]]\nseed=1\nfile = "w"\n[[weights]]\nseed=1\nfile = "v"': ("seed", "different"),
    'build = "a:b"\nuntrained = true\n[weights]\nfile = "w"': ("untrained", "exclude"),
    'build = "a:b"\n[[published]]\nmetric = "top1"\nvalue = 1': ("top1", ""),
    'build = "a:b"\n[[published]]\nmetric = "nll"\nvalue = nan\non = ""\nsource = ""': ("value", "a number"),
    'build = "a:b"\n[[published]]\nmetric = "nll"\nvlaue = 1': ("vlaue", "did you mean 'value'"),
}


@pytest.mark.parametrize(
    ("text", "words"), CARD_MISTAKES.items(), ids=lambda v: v[:60] if isinstance(v, str) else ""
)
def test_a_mistake_in_a_card_names_the_file_the_word_and_the_likely_right_one(tmp_path, rbms, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    found = rbms("run", "quick", "-m", path)

    assert found.code == 2
    for word in (str(path), *words):
        assert word in found.err
    assert not (tmp_path / "results").exists()


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BadFile, match=r"mine\.toml.*UTF-8"):
        read_suite(path)
    with pytest.raises(BadFile, match="No such file"):
        read_card(tmp_path / "absent.toml")


NAMES = st.sampled_from(
    [
        "dataset", "split", "profile", "matrix", "corruption", "severity", "also", "summary", "seed", "limit",
        "files", "images", "labels", "classes", "sha256", "encode", "task", "gate", "about", "build", "args", "input",
        "size", "mean", "std", "range", "crop", "weights", "file", "seed", "url", "published", "metric", "value",
        "on", "source", "precision", "untrained", "recipe", "tasks", "folder",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "digits", "arrays", "cifar10-c", "cifar10", "test", "cifar", "any-size", "fog", "common", "all", "clean",
        "clean_accuracy", "mce", "a:b", "timm:x", "classification", "jpeg-80", "fp32", "images.npy", "0" * 64, "",
    ]
)  # fmt: skip
LEAVES = (
    WORDS
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(10**400), 10**400)
    | st.integers(-1, 6)
    | st.floats()
    | st.booleans()
    | st.dates()
    | st.just(dt.time(1, 2))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
TABLES = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=8)
GOOD_SUITE = st.fixed_dictionaries({"dataset": st.sampled_from(["digits", "arrays", "cifar10-c"])})
GOOD_CARD = st.fixed_dictionaries({"build": st.just("a:b")})


def written(folder, values):
    path = folder / "any.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def attempt(read, path):
    try:
        return read(path), ""
    except UserError as error:
        return None, str(error)


@settings(max_examples=150, deadline=None)
@given(base=GOOD_SUITE, values=TABLES)
def test_only_a_user_error_ever_escapes_the_reader_of_suites(tmp_path_factory, base, values):
    path = written(tmp_path_factory.getbasetemp(), {**base, **values})

    suite, trouble = attempt(read_suite, path)

    if suite is None:
        assert str(path) in trouble
    else:
        assert suite.name == "any"
        hash((suite.also, suite.summary, suite.gate))


@settings(max_examples=150, deadline=None)
@given(base=GOOD_CARD, values=TABLES)
def test_only_a_user_error_ever_escapes_the_reader_of_cards(tmp_path_factory, base, values):
    path = written(tmp_path_factory.getbasetemp(), {**base, **values})

    card, trouble = attempt(read_card, path)

    if card is None:
        assert str(path) in trouble
    else:
        assert card.name == "any"
        assert all(w.file for w in card.weights)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60))
def test_only_a_user_error_ever_escapes_for_any_text(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text.toml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UserError):
        read_suite(path)


NUMBERS = st.floats(0.01, 2)
INPUTS = st.builds(
    Input,
    size=st.none() | st.integers(1, 512),
    fit=st.sampled_from(["resize", "crop", "letterbox"]),
    crop=st.floats(0.1, 1),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    range=st.sampled_from([(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)]),
    mean=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    std=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    channels=st.sampled_from(["RGB", "BGR", "L"]),
    assumed=st.just(False),
) | st.sampled_from([Input(), Input(assumed=True)])
CARDS = st.builds(
    Card,
    name=st.just("saved"),
    build=st.sampled_from(["a.b:c", "timm:resnet18.a1_in1k", "torchvision:resnet18"]),
    args=st.dictionaries(
        st.text("abc", min_size=1), st.integers(0, 9) | st.booleans() | st.lists(NUMBERS), max_size=3
    ),
    input=INPUTS,
    weights=st.sampled_from(
        [(), (Weights("w.th", url="https://x"),), (Weights("a", "0" * 64, 0), Weights("b/c", None, 1))]
    ),
    precision=st.sampled_from(["fp32", "bf16"]),
    memory_format=st.sampled_from(["contiguous", "channels_last"]),
    published=st.sampled_from([(), (Published("clean_accuracy", 0.9, "cifar10", "paper"),)]),
    about=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=9),
)


@settings(max_examples=200, deadline=None)
@given(card=CARDS)
def test_a_saved_card_is_the_card_that_is_read(tmp_path_factory, card):
    path = tmp_path_factory.getbasetemp() / "saved.toml"

    write_card(card, path)

    assert dataclasses.replace(read_card(path), folder=None) == card


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (Card("x", build=lambda: None), "cannot be imported by another process"),
        (Card("x", build="a:b", weights=(Weights("/abs/w.th"),)), "path inside its folder"),
        (Card("x", build="a:b", args={"act": object}), "args cannot be written"),
        (Card("x", build="a:b", args={"act": None}), "TOML cannot hold"),
        (Card("x", build="no target"), "package.module:function"),
    ],
)
def test_a_card_that_would_be_read_as_another_is_not_saved(tmp_path, card, words):
    with pytest.raises(UserError, match=words):
        card.save(tmp_path / "x.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_card_is_not_saved_where_nothing_can_be_written(tmp_path):
    with pytest.raises(UserError, match=r"absent/x\.toml cannot be written: No such file"):
        Card("x", build="a:b").save(tmp_path / "absent" / "x.toml")


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_are_read_by_name_and_by_file(name, tmp_path):
    suite = find_suite(name)
    copy = tmp_path / f"{name}.toml"
    copy.write_bytes((suite.folder / f"{name}.toml").read_bytes())

    assert dataclasses.replace(find_suite(str(copy)), folder=None) == dataclasses.replace(suite, folder=None)


CLEAN = ("clean_accuracy", "clean_nll", "clean_brier", "clean_ece")
CORRUPTED = (
    "mean_corruption_accuracy",
    "mean_corruption_nll",
    "mean_corruption_brier",
    "mean_corruption_ece",
)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", CLEAN),
        (
            '[matrix]\ncorruption = ["fog", "contrast"]',
            (CORRUPTED[0], "relative_drop", *CORRUPTED[1:], *CLEAN),
        ),
        ('also = []\n[matrix]\ncorruption = ["fog"]', CORRUPTED),
        ('[matrix]\ncorruption = ["spatter"]', CLEAN),
        ('summary = ["clean_nll"]\n[matrix]\ncorruption = ["fog"]', ("clean_nll",)),
        ('task = "detection"\n[matrix]', ("P", "P50")),
        ('task = "detection"\n[matrix]\nseverity = [1, 3]', ("corrupted_AP", "P", "P50")),
        ('task = "detection"\n[matrix]\nseverity = [1, 2, 3, 4, 5]', ("mPC", "rPC", "mPC50", "P", "P50")),
    ],
)
def test_a_suite_that_names_no_column_has_those_of_its_cells(tmp_path, text, columns):
    path, data = tmp_path / "mine.toml", "quick-scenes" if "detection" in text else "digits"
    path.write_text(f'dataset = "{data}"\nprofile = "any-size"\n{text}')

    assert read_suite(path).summary == columns


def test_a_card_of_several_seeds_is_several_subjects():
    card = find_card("digits-resnet8")

    assert [c.name for c in card.replicates()] == [f"digits-resnet8@{seed}" for seed in (0, 1, 2)]
    assert {c.group for c in card.replicates()} == {"digits-resnet8"}
    assert find_card("digits-resnet8@1") == card.replicates()[1]
    with pytest.raises(UserError, match="no weights of seed '7'"):
        find_card("digits-resnet8@7")
