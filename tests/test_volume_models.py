"""Volumes in nnU-Net's layout, run: a network of MONAI's, and the same as an exported program and an ONNX file."""

import warnings

import numpy as np
import pytest
import torch

import robustbench_ms as rbms
from robustbench_ms.errors import UserError
from tests.sources import ROOT
from tests.test_scan_folder import folder, save

pytestmark = pytest.mark.slow
CARD = """build = "{build}"
tasks = ["segmentation"]
untrained = true
source = "made here"
licence = "Apache-2.0"
[args]
{args}
[input]
channels = "volumes"
mean = [0.5]
std = [0.5]
"""


def network():
    """MONAI's U-Net of two levels."""
    from monai.networks.nets import UNet

    torch.manual_seed(3)
    return UNet(3, 1, 2, channels=(4, 8), strides=(2,), num_res_units=1).eval()


def adapted(classes=2):
    """What a card of a function builds."""
    del classes
    return network()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The shipped suite on two volumes of 8^3, with a matrix of two artefacts."""
    root = tmp_path_factory.mktemp("mr")
    (root / "volumes-mr").mkdir()
    made = folder(root / "volumes-mr", channels=1)
    words = np.random.default_rng(2)
    for case in "ab":
        values = words.random((8, 8, 8)).astype(np.float32)
        save(made / f"imagesTs/{case}_0000.nii.gz", values)
        save(made / f"labelsTs/{case}.nii.gz", (values > 0.6).astype(np.uint8))
    shipped = (ROOT / "suites/volumes-mr.toml").read_text()
    (root / "mr.toml").write_text(
        shipped.replace('"common"', '["blur", "shift"]').replace("1, 2, 3, 4, 5", "2")
    )
    return root


def run(home, model):
    where = {"results": home / "results", "cache": home / "cache"}
    return rbms.run(str(home / "mr.toml"), [model], device="cpu", threads=1, data=home, **where)[0]


def numbers(record):
    return {m.key: {name: value["mean"] for name, value in m.values.items()} for m in record.measurements}


@pytest.fixture(scope="module")
def plain(home):
    (home / "unet.toml").write_text(CARD.format(build="tests.test_volume_models:adapted", args=""))
    return numbers(run(home, str(home / "unet.toml")))


def test_a_network_of_monai_is_measured_in_millimetres(plain):
    assert list(plain) == ["clean", "artefact=blur,level=2", "artefact=shift,level=2"]
    assert 0 < plain["clean"]["dice"] < 1
    assert plain["clean"]["hd95"] > 0
    assert plain["clean"] != plain["artefact=shift,level=2"]


@pytest.mark.parametrize("kind", ["export", "onnx"])
def test_the_same_as_a_file_answers_alike(home, plain, kind):
    warnings.simplefilter("ignore")  # torch's exporters warn of themselves
    free = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(network(), (torch.rand(2, 1, 8, 8, 8),), dynamic_shapes=free)
    path = home / f"unet.{'pt2' if kind == 'export' else 'onnx'}"
    if kind == "export":
        torch.export.save(program, path)
    else:
        torch.onnx.export(program, f=str(path), dynamo=True, verbose=False)
    (home / f"{kind}.toml").write_text(CARD.format(build=f"{kind}:{path.name}", args=""))
    found = numbers(run(home, str(home / f"{kind}.toml")))

    for cell, values in plain.items():
        assert found[cell] == pytest.approx(values, abs=0.02), cell


def test_a_program_of_one_size_answers_for_larger_volumes_by_windows(home, plain):
    """Exported for two volumes of 6^3, and asked about volumes of 8^3."""
    warnings.simplefilter("ignore")
    program = torch.export.export(network(), (torch.rand(2, 1, 6, 6, 6),))
    torch.export.save(program, home / "small.pt2")
    card = CARD.format(build="export:small.pt2", args="")
    (home / "whole.toml").write_text(card)
    (home / "windows.toml").write_text(card + 'window = [6, 6, 6]\noverlap = 0.5\nblend = "gaussian"\n')
    (home / "same.toml").write_text(
        CARD.format(build="tests.test_volume_models:adapted", args="")
        + 'window = [6, 6, 6]\noverlap = 0.5\nblend = "gaussian"\n'
    )

    with pytest.raises(
        UserError, match=r"it takes .* = \(1, 6, 6, 6\), and its .input. shows \(1, 8, 8, 8\)"
    ):
        run(home, str(home / "whole.toml"))
    found, wanted = (numbers(run(home, str(home / name))) for name in ("windows.toml", "same.toml"))
    for cell, values in wanted.items():
        assert found[cell] == pytest.approx(values, abs=0.02), cell
    assert wanted != plain
