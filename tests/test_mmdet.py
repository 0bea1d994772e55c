"""mmdet's detectors: asked by the harness they answer as mmdet itself has them answer. `make test-mmdet`."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.cards import read_card, write_card
from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Input, Weights
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import identify
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.subjects.weights import file_digest
from robustbench_ms.tasks.detection.labels import COCO
from robustbench_ms.tasks.detection.task import Detection
from tests.boxes.data import index_boxes
from tests.mmdetected import CONFIGS, write_config

CPU = torch.device("cpu")
NAMES = ("red", "blue")
needs_mmdet = pytest.mark.skipif(
    importlib.util.find_spec("mmdet") is None, reason="mmdet is not installed here: make test-mmdet"
)
# mmdet's and mmengine's own, of what they import.
pytestmark = pytest.mark.filterwarnings("default")


def loaded(card, places):
    return load_model(card, index_boxes(None, None, ()), device=CPU, places=places)


def shown(count=6):
    data = index_boxes(None, None, ()).open("stored")
    return data.load(next(iter(data.batches(2**20)))[:count], CPU)


@pytest.fixture(params=CONFIGS)
def config(request, tmp_path):
    return write_config(tmp_path / f"{request.param}.py", request.param, NAMES)


def test_a_config_and_its_checkpoint_are_found_read_and_written(tmp_path):
    found = find_card(f"mmdet:{tmp_path}/my.py:{tmp_path}/w.pth")
    assert (found.name, found.build, found.folder) == ("my", "mmdet:my.py", tmp_path)
    assert found.weights == (Weights(f"{tmp_path}/w.pth"),)
    assert find_card(f"mmdet:{tmp_path}/my.py").weights == ()

    path = write_card(replace(found, weights=(Weights("w.pth", seed=1),)), tmp_path / "my.toml")
    assert read_card(path) == replace(found, weights=(Weights("w.pth", seed=1),))


def test_without_mmdet_one_sentence_names_the_command(tmp_path, places, monkeypatch):
    monkeypatch.setitem(sys.modules, "mmdet.registry", None)
    monkeypatch.setitem(sys.modules, "mmdet", None)
    path = write_config(tmp_path / "my.py", "retinanet", NAMES)
    with pytest.raises(UserError, match=r"mmdet, which is not installed .*`make test-mmdet`") as error:
        loaded(find_card(f"mmdet:{path}"), places)
    assert "\n" not in str(error.value)


@needs_mmdet
def test_it_answers_as_mmdet_has_it_answer(config, places):
    """One image at a time the same bits; in a batch another order of sums."""
    from mmdet.apis import inference_detector, init_detector

    model, batch, task = (
        loaded(find_card(f"mmdet:{config}"), places),
        shown(),
        Detection(Suite("s", "detection", "b")),
    )
    theirs = init_detector(str(config), device="cpu")
    theirs.load_state_dict(model.module.detector.state_dict())
    for part in (theirs.test_cfg, theirs.test_cfg.get("rcnn", {})):
        part.update({k: v for k, v in (("score_thr", 0.001), ("max_per_img", 100)) if k in part})

    together = task.ask(model, batch).raw

    assert model.card.output.labels == NAMES
    for i, image in enumerate(batch.samples.numpy()):
        bgr = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
        found = inference_detector(theirs, bgr).pred_instances
        order = found.scores.argsort(descending=True, stable=True)
        (alone,) = task.ask(model, batch.part(i, i + 1)).raw
        assert len(found) > 10
        assert torch.equal(alone["scores"], found.scores[order])
        assert torch.equal(alone["boxes"], found.bboxes[order])
        # The data's classes are called alike in the same order.
        assert torch.equal(alone["labels"], found.labels[order])
        assert together[i]["scores"].numpy() == pytest.approx(found.scores[order].numpy(), abs=1e-4)
    height, width = batch.samples.shape[-2:]
    assert float(together[0]["boxes"][:, 2].max()) <= width
    assert float(together[0]["boxes"][:, 3].max()) <= height


@needs_mmdet
def test_masks_are_its_own(tmp_path, places):
    """One image at a time, bit for bit, in the picture's own pixels; kept as COCO's run lengths."""
    from hotcoco import mask
    from mmdet.apis import inference_detector, init_detector

    config = write_config(tmp_path / "mask.py", "mask_rcnn", NAMES)
    model, batch = loaded(find_card(f"mmdet:{config}"), places), shown(2)
    segm = Detection(Suite("s", "detection", "b", options={"iou": "segm"}))
    theirs = init_detector(str(config), device="cpu")
    theirs.load_state_dict(model.module.detector.state_dict())
    theirs.test_cfg.rcnn.update(score_thr=0.001, max_per_img=100)

    for i, image in enumerate(batch.samples.numpy()):
        found = inference_detector(
            theirs, np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
        ).pred_instances
        order = found.scores.argsort(descending=True, stable=True)
        part = batch.part(i, i + 1)
        answers = segm.ask(model, part)
        (row,) = answers.raw
        assert torch.equal(row["masks"], found.masks[order])
        assert row["masks"].any(dim=(1, 2)).sum() > 10
        kept = segm.outcomes(answers, part).items["detections"].columns["rle"]
        size = list(image.shape[-2:])
        for plane, counts in zip(row["masks"].numpy(), kept, strict=True):
            assert (mask.decode({"size": size, "counts": bytes(counts)}) == plane).all()


@needs_mmdet
def test_labels_go_by_name(tmp_path, places):
    turned = loaded(find_card(f"mmdet:{write_config(tmp_path / 'a.py', 'retinanet', NAMES[::-1])}"), places)
    straight = loaded(find_card(f"mmdet:{write_config(tmp_path / 'b.py', 'retinanet', NAMES)}"), places)
    task, batch = Detection(Suite("s", "detection", "b")), shown(1)

    (one,), (other,) = task.ask(turned, batch).raw, task.ask(straight, batch).raw

    assert torch.equal(one["labels"], 1 - other["labels"])
    unlike = write_config(tmp_path / "c.py", "retinanet", ("red", "blew"))
    with pytest.raises(
        UserError, match="have no 'blue', which is a class of the data set; did you mean 'blew'"
    ):
        task.ask(loaded(find_card(f"mmdet:{unlike}"), places), batch)


@needs_mmdet
def test_the_subject_is_the_config_and_the_checkpoint(config, tmp_path, places):
    task, facts = Detection(Suite("s", "detection", "b")), index_boxes(None, None, ()).open("stored").facts

    def who(spelling):
        model = loaded(find_card(spelling), places)
        return identify(model, task, facts, 8).digest, model

    untrained, model = who(f"mmdet:{config}")
    assert model.card.untrained
    checkpoint = tmp_path / "w.pth"
    torch.save({"state_dict": model.module.detector.state_dict(), "meta": {}}, checkpoint)
    same, of_file = who(f"mmdet:{config}:{checkpoint}")
    assert same == untrained
    assert not of_file.card.untrained
    assert of_file.weights_sha256 == file_digest(checkpoint)

    config.write_text(config.read_text() + "\nremark = 1\n")
    assert who(f"mmdet:{config}:{checkpoint}")[0] != untrained
    state = model.module.detector.state_dict()
    state["neck.lateral_convs.0.conv.bias"] += 1
    torch.save({"state_dict": state, "meta": {}}, checkpoint)
    assert who(f"mmdet:{config}:{checkpoint}")[0] not in {same, untrained}


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@needs_mmdet
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no weights", "no checkpoint"),
        ({"state_dict": {}, "more": Evil()}, "a pickle that might run code"),
        ({"state_dict": {}}, "does not fit the config: it lacks backbone"),
        ([1], "is no checkpoint of mmdet: it holds a list"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_one_sentence(content, says, tmp_path, places):
    path = write_config(tmp_path / "my.py", "retinanet", NAMES)
    (tmp_path / "w.pth").write_bytes(content) if isinstance(content, bytes) else torch.save(
        content, tmp_path / "w.pth"
    )
    with pytest.raises(BadFile) as error:
        loaded(find_card(f"mmdet:{path}:{tmp_path / 'w.pth'}"), places)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@needs_mmdet
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("COMMON", "x = (", "is no config that mmdet reads"),
        ("model = dict(", "other = dict(", "it has no `model`"),
        ('"RetinaNet"', '"RetinaNot"', "mmdet cannot build it"),
        ('"ema"', '"emma"', "no attention named 'emma'; did you mean 'ema'"),
        ('type="LoadImageFromFile"', 'type="LoadImageFromNDArray"', "not with LoadImageFromFile in colour"),
    ],
)
def test_a_config_that_cannot_be_is_one_sentence(old, new, says, tmp_path, places):
    path = write_config(tmp_path / "my.py", "retinanet", NAMES)
    text = path.read_text()
    path.write_text(new if old == "COMMON" else text.replace(old, new))
    with pytest.raises(UserError, match=says) as error:
        loaded(find_card(f"mmdet:{path}"), places)
    assert "\n" not in str(error.value)


@needs_mmdet
def test_without_a_checkpoint_weights_are_begun_as_mmdet_begins_them(tmp_path, places):
    """With the prior of .01 for every class; from torch's own start the loss is NaN in a few steps."""
    model = loaded(find_card(f"mmdet:{write_config(tmp_path / 'my.py', 'retinanet', NAMES)}"), places)

    bias = model.module.detector.bbox_head.retina_cls.bias

    assert bias.tolist() == pytest.approx([-math.log(0.99 / 0.01)] * len(bias))


@needs_mmdet
def test_its_input_is_the_configs(tmp_path, places):
    card = find_card(f"mmdet:{write_config(tmp_path / 'my.py', 'retinanet', NAMES)}")
    with pytest.raises(UserError, match="the test pipeline in its config prepares the samples"):
        loaded(replace(card, input=Input(size=64)), places)


@needs_mmdet
def test_a_plugin_of_resnet_50_is_our_block(tmp_path, places):
    path = write_config(tmp_path / "my.py", "retinanet", NAMES)
    plugin = 'dict(cfg=dict(type="RBMSAttention", attention="ema", factor=8), position="after_conv3")'
    path.write_text(
        path.read_text()
        .replace('dict(type="RBMSBackbone", name="timm:resnet18", attention="ema", factor=8)',
                 f'dict(type="ResNet", depth=50, base_channels=16, plugins=[{plugin}])')
    )  # fmt: skip
    model = loaded(find_card(f"mmdet:{path}"), places)

    blocks = [m for m in model.module.modules() if type(m).__name__ == "EMA"]

    assert len(blocks) == 16  # bottlenecks of a ResNet-50
    assert len(Detection(Suite("s", "detection", "b")).ask(model, shown(1)).raw) == 1


@needs_mmdet
@pytest.mark.parametrize("kind", ["retinanet", "faster_rcnn"])
def test_trained_some_steps_it_is_measured_on_coco_mini(kind, real_data, tmp_path, rbms, snapshot):
    """The losses stay finite, so are the APs; the second run measures nothing again."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    root = real_data("coco-mini/annotations/instances_val2017.json").parent.parent
    config = write_config(tmp_path / f"{kind}.py", kind, COCO, root)
    settings = Config.fromfile(config)
    # What is tested is tested here.
    settings.work_dir, settings.test_dataloader = str(tmp_path / "work"), None
    runner = Runner.from_cfg(settings)
    runner.train()
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert len(losses) == 6
    assert all(math.isfinite(loss) for loss in losses)

    asked = ("run", root, "--annotations", "annotations/instances_val2017.json", "--corruptions", "fog", "--limit", 4,
             "-m", f"mmdet:{config}:{tmp_path / 'work' / 'iter_6.pth'}", "--threads", 1, "--device", "cpu")  # fmt: skip
    first = rbms(*asked)
    assert first.code == 0, first.err
    (path,) = (tmp_path / "results").rglob(f"{kind}.json")
    cells = json.loads(path.read_text())["measurements"]
    assert len(cells) == 6
    assert all(math.isfinite(cell["values"]["AP"]["mean"]) for cell in cells)

    before = snapshot(tmp_path / "cache" / "cells")
    again = rbms(*asked)
    assert again.code == 0
    assert snapshot(tmp_path / "cache" / "cells") == before
