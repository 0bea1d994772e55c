"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_ms.errors import UserError, choose, suggest
from robustbench_ms.specs.places import Places


def test_given_comes_before_the_environment_and_that_before_the_defaults(monkeypatch, tmp_path):
    for name in ("RBMS_DATA", "RBMS_RESULTS", "RBMS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)

    home = tmp_path / "xdg" / "robustbench_ms"
    assert Places.find() == Places(home / "data", tmp_path / "results", home)
    monkeypatch.setenv("RBMS_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("RBMS_CACHE", "~/c")
    assert Places.find() == Places(tmp_path / "d", tmp_path / "results", Path.home() / "c")
    assert Places.find(data=tmp_path / "given", results="r").data == tmp_path / "given"
    assert Places.find(results="r").results == tmp_path / "r"


def test_a_folder_that_can_be_written_is_made_and_left_empty(places, tmp_path):
    folder = places.writable(tmp_path / "a" / "b", "results")

    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"the cache folder {path} cannot be written"):
            places.writable(path, "cache")


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("fgo", ["fog", "frost"], "; did you mean 'fog'?"),
        ("RESNET20", ["resnet20", "resnet32"], "; did you mean 'resnet20'?"),
        ("resnet2O", ["resnet32", "resnet20"], "; did you mean 'resnet20'?"),
        ("bgr", ["RGB", "BGR"], "; did you mean 'BGR'?"),
        ("zzz", ["fog", "frost"], "; known: fog, frost"),
        ("zzz", [f"model{i}" for i in range(100)], ""),
        ("zzz", [], ""),
    ],
)
def test_a_suggestion_is_the_likely_word_or_the_known_ones(word, known, told):
    assert suggest(word, known) == told


def test_choose():
    assert choose("fog", ["fog"], "corruption") == "fog"
    for wrong in (3, None, ["fog"], "fogg"):
        with pytest.raises(UserError, match="here: no corruption named"):
            choose(wrong, ["fog"], "corruption", "here")
