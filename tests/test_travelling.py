"""Models that are files, on their way to workers on other machines: whatever is read of them goes along."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_ms.evaluation.executors import sending
from robustbench_ms.specs.card import Card


@pytest.mark.parametrize("build", ["export:net.pt2", "script:net.pt"])
def test_a_program_travels(build, tmp_path, places):
    name = build.partition(":")[2]
    (tmp_path / name).write_bytes(b"a program")

    card, (file,) = sending.travelling(Card("net", build=build, folder=tmp_path), places)

    assert (file.name, file.path.read_bytes()) == (name, b"a program")
    assert (card.build, card.folder, card.weights[0].file) == (build, None, name)


def test_an_onnx_file_travels_with_its_external_data(tmp_path, places):
    from onnx import TensorProto, helper, numpy_helper, save_model

    weight = numpy_helper.from_array(np.ones((4, 2), np.float32), "w")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", side])
        for name, side in (("x", 4), ("y", 2))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight]
    )
    save_model(
        helper.make_model(graph),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )

    _, files = sending.travelling(Card("net", build="onnx:m.onnx", folder=tmp_path), places)

    assert [file.name for file in files] == ["m.onnx", "m.data"]
