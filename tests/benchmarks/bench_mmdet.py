"""A detector of mmdet under corruption: this harness against mmdet's own loop, on the same pictures.

    PYTHONPATH=$(.ci/mmdet) make bench FILE=tests/benchmarks/bench_mmdet.py

RBMS_DATA with coco-mini; RBMS_BENCH_PICTURES (12) of its val2017. One thread, one process, in seconds of the CPU,
which other load moves less than those of the clock. Theirs is transcribed from mmdet's
tools/analysis_tools/test_robustness.py: a new loader a cell, `Corrupt` after the reading of the file, one picture at a
time, CocoMetric at the end; and the transform, which this release names and no longer has, from 3.3's
mmdet/datasets/transforms/transforms.py. Of both the building of the detector is left out, of ours the probe too.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.corruptions import corrupt
from robustbench_ms.evaluation.events import CellDone, Planned
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.tasks.detection.labels import COCO
from tests.mmdetected import write_config

CORRUPTIONS = ("gaussian_noise", "glass_blur", "fog", "jpeg_compression")
PICTURES = int(os.environ.get("RBMS_BENCH_PICTURES", "12"))
SIDES = "(640, 400)"
pytestmark = pytest.mark.filterwarnings("default")

TESTED = """
test_dataloader.update(
    batch_size=1, num_workers=0, persistent_workers=False, sampler=dict(type="DefaultSampler", shuffle=False))
test_dataloader["dataset"].update(
    data_root=ROOT, ann_file="annotations/instances_few.json", data_prefix=dict(img="few/"), test_mode=True)
test_evaluator = dict(type="CocoMetric", ann_file=ROOT + "/annotations/instances_few.json", metric="bbox")
test_cfg = dict(type="TestLoop")
log_level = "ERROR"
model["test_cfg"]["score_thr"], model["test_cfg"]["max_per_img"] = 0.001, 100
"""


@pytest.fixture
def few(tmp_path, real_data):
    """A folder in COCO's format with the first pictures of coco-mini."""
    whole = real_data("coco-mini/annotations/instances_val2017.json")
    told = json.loads(whole.read_text())
    told["images"] = told["images"][:PICTURES]
    kept = {one["id"] for one in told["images"]}
    told["annotations"] = [one for one in told["annotations"] if one["image_id"] in kept]
    folder = tmp_path / "pictures"
    (folder / "annotations").mkdir(parents=True)
    (folder / "few").mkdir()
    (folder / "annotations" / "instances_few.json").write_text(json.dumps(told))
    for one in told["images"]:
        shutil.copy(whole.parent.parent / "val2017" / one["file_name"], folder / "few")
    return folder


def corrupting(imagecorruptions):
    """mmdet's transform, under its name."""
    from mmcv.transforms import BaseTransform
    from mmdet.registry import TRANSFORMS

    @TRANSFORMS.register_module(name="Corrupt", force=True)
    class Corrupt(BaseTransform):
        def __init__(self, corruption, severity):
            self.asked = {"corruption_name": corruption, "severity": severity}

        def transform(self, results):
            results["img"] = imagecorruptions.corrupt(results["img"].astype(np.uint8), **self.asked)
            results["img_shape"] = results["img"].shape
            return results


def their_cells(config, checkpoint, work):
    """CPU seconds of each cell in mmdet's loop, clean first."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    settings = Config.fromfile(config)
    settings.work_dir, settings.load_from = str(work), str(checkpoint)
    runner = Runner.from_cfg(settings)
    runner.load_or_resume()
    spent = []
    for corruption in (None, *CORRUPTIONS):
        begin = time.process_time()
        loader = copy.deepcopy(settings.test_dataloader)
        if corruption is not None:
            loader.dataset.pipeline.insert(1, {"type": "Corrupt", "corruption": corruption, "severity": 3})
        runner.test_loop  # noqa: B018 - it is built when it is asked for
        runner._test_loop.dataloader = runner.build_dataloader(loader)
        runner.test()
        spent.append(time.process_time() - begin)
    return spent


def our_cells(config, checkpoint, folder, places):
    """CPU seconds of each cell here, clean first; the last one's with the record."""
    suite = find_suite(str(folder), corruptions=",".join(CORRUPTIONS), places=places)
    suite = replace(suite, matrix={**suite.matrix, "severity": (3,)})
    spent, begin = [], 0.0
    for event in run(suite, [find_card(f"mmdet:{config}:{checkpoint}")], places, Settings("cpu", threads=1)):
        if isinstance(event, CellDone):
            spent.append(time.process_time() - begin)
        if isinstance(event, (Planned, CellDone)):
            begin = time.process_time()
    spent[-1] += time.process_time() - begin
    return spent


def bench_against_mmdets_loop(benchmark, few, tmp_path):
    pytest.importorskip("mmdet", reason="mmdet is not installed here: make test-mmdet")
    corrupting(pytest.importorskip("imagecorruptions"))
    torch.set_num_threads(1)
    places = Places(tmp_path / "data", tmp_path / "results", tmp_path / "cache")
    config = write_config(tmp_path / "retinanet.py", "retinanet", COCO)
    text = config.read_text().replace("(160, 128)", SIDES) + f"ROOT = {str(few)!r}\n" + TESTED
    config.write_text(text)
    from robustbench_ms.adapters.mmdet import load
    from tests.boxes.data import coco

    index = coco(few / "annotations" / "instances_few.json", few / "few")
    checkpoint = tmp_path / "w.pth"
    detector = load(config, find_card(f"mmdet:{config}"), index).module.detector
    torch.save({"state_dict": detector.state_dict(), "meta": {"dataset_meta": {"classes": COCO}}}, checkpoint)
    for corruption in CORRUPTIONS:  # compiled once, not timed
        corrupt(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), corruption, 3, profile="any-size")

    def both():
        return their_cells(config, checkpoint, tmp_path / "work"), our_cells(config, checkpoint, few, places)

    theirs, ours = benchmark.pedantic(both, rounds=1, iterations=1)
    assert len(theirs) == len(ours) == 1 + len(CORRUPTIONS)
    print(f"\n{PICTURES} pictures, CPU seconds a cell, mmdet's loop / here:")
    for name, their, our in zip(("clean", *CORRUPTIONS), theirs, ours, strict=True):
        print(f"  {name}: {their:.2f} / {our:.2f} = {their / our:.2f}")
    ratio = sum(theirs) / sum(ours)
    benchmark.extra_info.update(ratio=round(ratio, 2), pictures=PICTURES)
    print(f"  all: {sum(theirs):.1f} / {sum(ours):.1f} = {ratio:.2f}")
