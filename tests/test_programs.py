"""Models in files that classify: ONNX, exported, TorchScript, Hugging Face's folders."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

import robustbench_ms as rbms_api
from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.catalog.registry import index_of, task_of
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.specs.card import Input
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.tasks.classification.task import Classification
from tests.test_adapters import grey

CPU = torch.device("cpu")
EMA, DMSCA = "digits-resnet8-ema@0", "digits-resnet8-dmsca@0"
MADE = {EMA: ("export", "onnx", "script"), DMSCA: ("export-4", "onnx-4")}
"""Which files are made of which network: of any batch, or of four."""
MEAN, STD = (0.3,) * 3, (0.35,) * 3


def quick(limit=40):
    return replace(find_suite("quick").limited(limit), matrix={"corruption": ("fog",), "severity": (3,)})


@pytest.fixture(scope="module")
def networks(places_of_module):
    """The committed networks of these names, in eval mode."""
    suite = quick()
    index = index_of(suite.source(task_of(suite).wants), places_of_module, CLEAN)
    return {
        name: load_model(find_card(name), index, device=CPU, places=places_of_module).module for name in MADE
    }


@pytest.fixture(scope="module")
def places_of_module(tmp_path_factory):
    from robustbench_ms.specs.places import Places

    root = tmp_path_factory.mktemp("programs")
    return Places(root / "data", root / "results", root / "cache")


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    """{(network, kind): a spelling} of every kind of file, of dynamic and fixed batches."""
    root, found = tmp_path_factory.mktemp("files"), {}
    shown = torch.rand(4, 3, 32, 32)
    for name, network in networks.items():
        stem, kinds = root / name.partition("@")[0], MADE[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch wants to be called otherwise
            free = None if "export-4" in kinds else ({0: torch.export.Dim.AUTO},)
            program = torch.export.export(network, (shown,), dynamic_shapes=free)
            torch.export.save(program, f"{stem}.pt2")
            torch.onnx.export(program, f=f"{stem}.onnx", dynamo=True, verbose=False)
            torch.jit.trace(network, shown, check_trace=False).save(f"{stem}.pt")
        endings = {"export": "pt2", "onnx": "onnx", "script": "pt"}
        for kind in kinds:
            prefix = kind.partition("-")[0]
            found[name, kind] = f"{prefix}:{stem}.{endings[prefix]}"
    return found


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in MADE.items() for kind in kinds])
def test_a_file_answers_as_the_network_that_it_was_made_of(name, kind, files, networks, places_of_module):
    suite = quick()
    task = task_of(suite)
    index = index_of(suite.source(task.wants), places_of_module, CLEAN)
    card = replace(find_card(files[name, kind]), input=Input(mean=MEAN, std=STD))
    model = load_model(card, index, device=CPU, places=places_of_module)
    data = index.open("stored")
    batch = data.load(np.arange(11), CPU)

    found = task.ask(model, batch).tensor

    shown = (batch.samples / 255 - 0.3) / 0.35
    with torch.inference_mode():
        expected = networks[name](shown)
    assert found.shape == expected.shape
    assert found.numpy() == pytest.approx(expected.numpy(), abs=2e-4)


def test_they_run_by_name_and_stand_beside_the_network(files, tmp_path):
    """With what is assumed of their input; a record of each, and its digest is its file's."""
    kinds = MADE[EMA]
    records = rbms_api.run(
        quick(), [replace(find_card(files[EMA, kind]), name=kind, input=Input(mean=MEAN, std=STD)) for kind in kinds],
        device="cpu", threads=1, results=tmp_path / "r", cache=tmp_path / "c",
    )  # fmt: skip
    (own,) = rbms_api.run(quick(), EMA, device="cpu", threads=1, results=tmp_path / "r", cache=tmp_path / "c")
    for record in records:
        assert [m.error for m in record.measurements] == [None, None]
        for key in ("clean", "corruption=fog,severity=3"):
            assert record.cell(key).values["accuracy"]["mean"] == own.cell(key).values["accuracy"]["mean"]
        assert record.card["weights"]["sha256"]


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("m.onnx", "did you mean 'onnx:m.onnx'"),
        ("nets/m.pt2", "did you mean 'export:nets/m.pt2'"),
        ("m.pt", r"did you mean 'script:m.pt'\? \(or give weights with --weights"),
        (
            "model_best.pth.tar",
            r"weights; name the network .* -m timm:resnet18 --weights model_best\.pth\.tar$",
        ),
        ("w.safetensors", r"such a file holds weights"),
    ],
)
def test_a_bare_file_suggests_its_prefix(spelling, says):
    with pytest.raises(UnknownName, match=says):
        find_card(spelling)


def asked(card, places, batch):
    index = index_of(quick().source(("label",)), places, CLEAN)
    model = load_model(card, index, device=CPU, places=places)
    return Classification(Suite("s", "classification", "d")).ask(model, batch).tensor


# ONNX


def onnx_file(path, shape, outputs=("logits",), channels_last=False):
    """1 to 10 times the mean of the first channel, by a tensor of its own."""
    from onnx import TensorProto, checker, helper, save

    axes = [1, 2] if channels_last else [2, 3]
    turned = np.outer([1, 0, 0], np.arange(1, 11)).astype(np.float32)
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [3, 10], turned.tobytes(), raw=True)
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0)]
    nodes += [helper.make_node("MatMul", ["mean", "weight"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 10]) for name in outputs],
        [weight, helper.make_tensor("axes", TensorProto.INT64, [2], axes)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    save(model, path)
    return path


@pytest.mark.parametrize(
    "shape", [("n", 3, 8, 8), ("n", 8, 8, 3), (4, 8, 8, 3), ("n", "h", "w", 3), ("n", 3, "h", "w")]
)
def test_channels_come_first_or_last(shape, tmp_path, places):
    path = onnx_file(tmp_path / "m.onnx", shape, channels_last=shape[3] == 3)
    found = asked(find_card(f"onnx:{path}"), places, grey(51, 102, 204, 51, 51, side=8))
    levels = np.array([0.2, 0.4, 0.8, 0.2, 0.2])
    assert found.numpy() == pytest.approx(levels[:, None] * np.arange(1, 11), abs=1e-5)


def test_of_several_outputs_one_is_named(tmp_path, places):
    path = onnx_file(tmp_path / "m.onnx", ("n", 3, 8, 8), outputs=("first", "second"))
    card, batch = find_card(f"onnx:{path}"), grey(51, side=8)
    with pytest.raises(UserError, match="it answers with dict"):
        asked(card, places, batch)
    assert asked(replace(card, args={"output": "second"}), places, batch).shape == (1, 10)
    with pytest.raises(UserError, match="no output named 'secnd'; did you mean 'second'"):
        asked(replace(card, args={"output": "secnd"}), places, batch)
    with pytest.raises(UserError, match="no argument named 'outputs'; did you mean 'output'"):
        asked(replace(card, args={"outputs": "second"}), places, batch)


def test_an_onnx_file_of_another_input_is_one_sentence(tmp_path, places):
    from onnx import TensorProto, helper, save

    for kind, shape in ((TensorProto.FLOAT, ["n", 192]), (TensorProto.INT64, ["n", 3, 8, 8])):
        x, y = (helper.make_tensor_value_info(name, kind, shape) for name in "xy")
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        save(made, tmp_path / "m.onnx")
        with pytest.raises(
            UserError, match=r"m\.onnx wants x tensor\(.*, and one float tensor \(n, channels"
        ):
            asked(find_card(f"onnx:{tmp_path / 'm.onnx'}"), places, grey(9, side=8))


def test_external_data_are_part_of_who_answers(tmp_path, places):
    import onnx

    onnx_file(tmp_path / "m.onnx", ("n", 3, 8, 8))
    whole = onnx.load(tmp_path / "m.onnx")
    folder = tmp_path / "apart"
    folder.mkdir()
    card = find_card(f"onnx:{folder / 'm.onnx'}")
    index = index_of(quick().source(("label",)), places, CLEAN)

    def sha256():
        return load_model(card, index, device=CPU, places=places).weights_sha256

    onnx.save(whole, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    first = sha256()
    values = bytearray((folder / "m.bin").read_bytes())
    values[3] ^= 1
    (folder / "m.bin").write_bytes(bytes(values))
    assert sha256() != first
    (folder / "m.bin").unlink()
    with pytest.raises(BadFile, match=r"m\.onnx has tensors in m\.bin, which is not beside it"):
        sha256()
    told = (folder / "m.onnx").read_bytes()
    (folder / "m.onnx").write_bytes(told.replace(b"m.bin", b"../m."))
    with pytest.raises(BadFile, match=r"in '\.\./m\.', outside of its folder"):
        sha256()


# programs


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("export:m.pt2", "no program that torch .* has exported or can read"),
        ("script:m.pt", "no TorchScript program"),
    ],
)
def test_what_is_no_program_is_one_sentence(spelling, says, tmp_path, places):
    prefix, name = spelling.split(":")
    for content in (b"", b"no program", torch.randn(9).numpy().tobytes()):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFile, match=says) as error:
            asked(find_card(f"{prefix}:{tmp_path / name}"), places, grey(9, side=8))
        assert "\n" not in str(error.value)


def test_a_program_of_another_torch_is_one_sentence(tmp_path, places, caplog):
    program = torch.export.export(torch.nn.Flatten(), (torch.rand(2, 3, 8, 8),))
    torch.export.save(program, tmp_path / "here.pt2")
    later = 0
    with zipfile.ZipFile(tmp_path / "here.pt2") as here, zipfile.ZipFile(tmp_path / "m.pt2", "w") as there:
        for name in here.namelist():
            text, times = re.subn(rb'("schema_version": *{"major": *)\d+', rb"\g<1>999", here.read(name))
            there.writestr(name, text)
            later += times
    assert later
    with pytest.raises(BadFile, match=r"m\.pt2 is .*no program that torch .* can read \(.*999") as error:
        asked(find_card(f"export:{tmp_path / 'm.pt2'}"), places, grey(9, side=8))
    assert "\n" not in str(error.value)
    assert "deserializing" not in caplog.text  # nor a trace above it


def test_another_size_than_a_program_takes_is_one_sentence(tmp_path, places):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10))
    program = torch.export.export(network, (torch.rand(2, 3, 8, 8),))
    torch.export.save(program, tmp_path / "m.pt2")
    card = find_card(f"export:{tmp_path / 'm.pt2'}")
    assert asked(card, places, grey(9, side=9)).shape == (1, 10)  # resized, where nobody said otherwise
    with pytest.raises(
        UserError, match=r"takes \(channels, height, width\) = \(3, 8, 8\), and its .* \(3, 9, 9\)"
    ):
        asked(replace(card, input=Input()), places, grey(9, side=9))


def test_a_program_of_two_inputs_is_one_sentence(tmp_path, places):
    class Two(torch.nn.Module):
        def forward(self, x, y):
            return x + y

    program = torch.export.export(Two(), (torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)))
    torch.export.save(program, tmp_path / "m.pt2")
    with pytest.raises(UserError, match="the program takes 2 inputs of shapes"):
        asked(find_card(f"export:{tmp_path / 'm.pt2'}"), places, grey(9, side=8))


# Hugging Face


@pytest.fixture
def vit(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4,
        num_labels=10,
    )  # fmt: skip
    folder = tmp_path / "vit"
    transformers.ViTForImageClassification(config).save_pretrained(folder, max_shard_size=2000)
    told = {
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
        "size": {"height": 8, "width": 8},
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def test_a_hugging_face_folder_classifies_with_its_own_input(vit, places):
    index = index_of(quick().source(("label",)), places, CLEAN)
    card, batch = find_card(f"hf:{vit}"), grey(0, 90, side=8)
    model = load_model(card, index, device=CPU, places=places)

    found = Classification(Suite("s", "classification", "d")).ask(model, batch).tensor

    assert model.card.input == Input(size=8, mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic")
    shown = (torch.tensor([0, 90]) / 255 - 0.5).div(0.25).reshape(2, 1, 1, 1).expand(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(found, model.module(shown).logits, atol=1e-5)
    shards = sorted(vit.glob("model-*.safetensors"))
    assert len(shards) > 1
    before = model.weights_sha256
    (vit / "preprocessor_config.json").write_text("{}")
    assert load_model(card, index, device=CPU, places=places).weights_sha256 != before
    shards[0].unlink()
    with pytest.raises(BadFile, match=r"names 'model-00001.*', which is not beside it"):
        load_model(card, index, device=CPU, places=places)


def test_a_hugging_face_folder_without_a_processor_asks_for_its_input(tmp_path, places):
    (tmp_path / "config.json").write_text('{"architectures": ["ViTForImageClassification"]}')
    (tmp_path / "model.safetensors").write_bytes(b"x")
    card, batch = find_card(f"hf:{tmp_path}"), grey(9, side=8)
    with pytest.raises(UserError, match=r"has no preprocessor_config.json, .*: give --mean and --std"):
        asked(card, places, batch)
    said = replace(card.input, mean=(0.5,) * 3, std=(0.25,) * 3, normalised=True)  # as the options make it
    with pytest.raises(UserError, match=r"needs transformers|no model that transformers reads"):
        asked(replace(card, input=said), places, batch)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, r"has no config\.json"),
        (
            '{"architectures": ["BertForMaskedLM"]}',
            "is of .'BertForMaskedLM'., and a model of one of ForImageClass",
        ),
        ("[]", "holds a list, and a table is wanted"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_folder_of_something_else_is_one_sentence(config, says, tmp_path, places):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(BadFile, match=says):
        asked(find_card(f"hf:{folder}"), places, grey(9, side=8))


def test_a_name_on_the_hub_is_a_folder_of_its_cache(vit, places, monkeypatch, tmp_path):
    asked = {}

    def downloaded(name, allow_patterns):
        asked[name] = allow_patterns
        return str(vit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", downloaded)
    monkeypatch.setattr("robustbench_ms.subjects.network.silence", lambda _: None)
    monkeypatch.chdir(tmp_path)
    card = find_card("hf:somebody/tiny-vit")
    assert (card.name, card.file_name, card.build) == (
        "somebody/tiny-vit",
        "somebody-tiny-vit",
        "hf:somebody/tiny-vit",
    )
    index = index_of(quick().source(("label",)), places, CLEAN)
    assert load_model(card, index, device=CPU, places=places).weights_sha256
    assert set(asked) == {"somebody/tiny-vit"}
    assert not any(pattern.endswith((".bin", ".py")) for pattern in asked["somebody/tiny-vit"])


def test_a_name_on_the_hub_without_a_network_is_one_sentence(places, monkeypatch, tmp_path):
    monkeypatch.setattr("robustbench_ms.subjects.network.silence", lambda _: "nobody answers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"no folder here, and as a name on the hub: .* cannot be reached"
    ) as error:
        asked(find_card("hf:somebody/tiny-vit"), places, grey(9, side=8))
    assert "\n" not in str(error.value)
