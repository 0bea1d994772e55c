"""Pictures as they lie: the same files are the same data in every layout; what is wrong is one sentence."""

from __future__ import annotations

import hashlib
import os
import tarfile
import unicodedata

import numpy as np
import pytest

from robustbench_ms.datasets.imagenet import list_imagenet
from robustbench_ms.datasets.layouts.at import find_at
from robustbench_ms.datasets.layouts.tables import find_in_table
from robustbench_ms.datasets.listed import listed
from robustbench_ms.datasets.picture_folder import list_picture_folder
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from tests.photo_sets import PLACES, WNIDS, class_folders, flat, jpeg, name_of, parquet, six, tar


def of_path(path, **options):
    source = Source("picture-folder", folder=path.parent, options={"path": path.name, **options})
    return list_picture_folder(source, Places(path.parent, path.parent, path.parent))


def of_imagenet(path, skip=(), **options):
    source = Source("imagenet", "val", options=options, skip=skip)
    return list_imagenet(source, Places(path, path, path, {"imagenet": path}), ())


def told(listing):
    """What the data's digest is made of."""
    read = [hashlib.sha256(listing.files.read(row)).hexdigest() for row in range(len(listing.files))]
    return list(zip(listing.ids.tolist(), listing.labels.tolist(), read, strict=True))


def as_made():
    return [
        (number, PLACES[place], hashlib.sha256(data).hexdigest()) for number, (place, data) in six().items()
    ]


def table(path, rows, head="path,label"):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def caffe(root):
    lines = [f"{name_of(number)} {PLACES[place]}\n" for number, (place, _) in six().items()]
    (root / "val.txt").write_text("".join(lines))
    return root


def test_the_same_files_are_the_same_data_however_they_lie(tmp_path):
    in_rows = table(
        tmp_path / "six.csv",
        [f"flat/{name_of(number)},{PLACES[place]}" for number, (place, _) in six().items()],
    )
    layouts = {
        "class folders": class_folders(tmp_path / "classes"),
        "flat": caffe(flat(tmp_path / "flat")),
        "tar": tar(tmp_path / "tars" / "val-0.tar").parent,
        "parquet": parquet(tmp_path / "parquet" / "data" / "validation-0.parquet").parent.parent,
        "table": in_rows,
    }

    assert {name: told(of_imagenet(path)) for name, path in layouts.items()} == dict.fromkeys(
        layouts, as_made()
    )


def test_the_order_on_the_disk_plays_no_part(tmp_path):
    backwards = class_folders(tmp_path / "classes", dict(reversed(six().items())))
    two = tmp_path / "two"
    halves = list(six().items())
    tar(two / "a.tar", dict(halves[3:]))
    tar(two / "b.tar", dict(halves[:3]))

    assert told(of_imagenet(backwards)) == told(of_imagenet(two)) == as_made()


def test_ids_are_hashes_of_names_where_one_is_not_imagenets(tmp_path):
    root = class_folders(tmp_path / "classes")
    odd = unicodedata.normalize("NFD", "é.JPEG")
    (root / WNIDS[0] / odd).write_bytes(jpeg(9))
    listing = of_imagenet(root)

    names = [unicodedata.normalize("NFC", listing.files.name(row)) for row in range(7)]
    meant = [int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) // 2 for name in names]
    assert listing.ids.tolist() == meant == sorted(meant)
    assert f"{WNIDS[0]}/é.JPEG" in names


def test_two_pictures_of_one_number_are_an_error(tmp_path):
    root = class_folders(tmp_path / "classes")
    (root / WNIDS[1] / name_of(1)).write_bytes(jpeg(1))

    with pytest.raises(BadFile, match=r"have one id, 1: rename or remove one"):
        of_imagenet(root)


def test_names_that_differ_in_case_only_are_an_error(tmp_path):
    rows = ["a/X.png,0", "a/x.png,1"]

    with pytest.raises(BadFile, match=r"a/X.png and a/x.png differ in case only"):
        of_path(table(tmp_path / "t.csv", rows))
    for name in ("Dog", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / f"{name}1.png").write_bytes(b"")
    with pytest.raises(BadFile, match=r"the class folders '.og' and '.og' differ in case only"):
        of_path(tmp_path / "pets")


def test_skipped_pictures_are_in_no_row(tmp_path):
    root = class_folders(tmp_path / "classes")
    listing = of_imagenet(root, skip=(2, 5))

    assert told(listing) == [row for row in as_made() if row[0] not in {2, 5}]
    assert listing.skip == {2, 5}
    with pytest.raises(UserError, match="skip has 9, which is no picture's id"):
        of_imagenet(root, skip=(9,))
    with pytest.raises(UserError, match="skip leaves no picture"):
        of_imagenet(root, skip=(1, 2, 3, 4, 5, 6))


# --- folders


def test_links_are_followed_and_counted(tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    (away / "far.png").write_bytes(jpeg(1))
    root = class_folders(tmp_path / "root", names=("a", "b", "c"))
    (root / "a" / "link.png").symlink_to(away / "far.png")
    (root / "b" / "near.JPEG").symlink_to(root / "c" / name_of(3).replace("3", "1"))
    (root / "d").symlink_to(away)
    listing = of_path(root)

    assert len(listing.ids) == 9
    assert sum("2 links lead out of the folder" in note for note in listing.notes) == 1


def test_a_circle_of_links_is_an_error(tmp_path):
    root = class_folders(tmp_path / "root", names=("a", "b", "c"))
    (root / "a" / "again").symlink_to(root / "a")
    with pytest.raises(BadFile, match=r"again leads back to .*round in a circle"):
        of_path(root)
    (root / "a" / "again").unlink()
    (root / "a" / "up").symlink_to(root)
    with pytest.raises(BadFile, match="up leads back to"):
        of_path(root)
    (root / "a" / "up").unlink()
    (root / "a" / "gone.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(BadFile, match=r"gone.png is a link to nothing"):
        of_path(root)


def test_what_is_no_picture_is_counted_and_what_is_hidden_is_not(tmp_path):
    root = class_folders(tmp_path / "root", names=("a", "b", "c"))
    (root / "a" / "notes.txt").write_text("no picture")
    (root / "readme.md").write_text("no picture")
    (root / ".git").mkdir()
    (root / "a" / ".hidden.png").write_bytes(b"")
    listing = of_path(root)

    assert len(listing.ids) == 6
    assert any("2 files were left out, as they do not end as pictures do" in note for note in listing.notes)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "root", names=("a", "b", "c"))
    scan = os.scandir

    def refusing(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(BadFile, match=r"root/b cannot be read \(Permission denied\)"):
        of_path(root)


def test_pictures_beside_folders_of_pictures_are_an_error(tmp_path):
    root = class_folders(tmp_path / "root", names=("a", "b", "c"))
    (root / "stray.png").write_bytes(jpeg(0))

    with pytest.raises(BadFile, match=r"beside folders of pictures, such as stray.png and a/"):
        of_path(root)


def test_a_file_that_changes_is_no_longer_read(tmp_path):
    listing = of_path(class_folders(tmp_path / "root", names=("a", "b", "c")))
    listing.files.stamps()
    path = tmp_path / "root" / listing.files.name(0)
    assert listing.files.read(0) == path.read_bytes()
    path.write_bytes(jpeg(7))

    with pytest.raises(BadFile, match="changed while it was read"):
        listing.files.read(0)
    path.unlink()
    with pytest.raises(BadFile, match="is missing"):
        listing.files.read(0)


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    listing = of_path(class_folders(tmp_path / "root", names=("a", "b", "c")))
    whole = type(tmp_path).read_bytes

    def growing(self):
        data = whole(self)
        self.write_bytes(data + b"more")
        return data

    monkeypatch.setattr(type(tmp_path), "read_bytes", growing)
    with pytest.raises(BadFile, match="changed while it was read"):
        listing.files.read(0)


def test_nothing_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFile, match="has no picture, and no folder of pictures"):
        of_path(tmp_path / "empty")
    with pytest.raises(BadFile, match="there is nothing"):
        of_imagenet(tmp_path / "nowhere")
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "data.mdb").write_bytes(b"")
    with pytest.raises(BadFile, match="is an LMDB, which is not read"):
        of_path(tmp_path / "db")
    (tmp_path / "pictures.zip").write_bytes(b"")
    with pytest.raises(BadFile, match=r"neither a folder nor a .csv, .tar or .parquet file"):
        of_path(tmp_path / "pictures.zip")


# --- tars, parquet files, tables


def test_a_tar_that_is_cut_short_is_named(tmp_path):
    path = tar(tmp_path / "whole.tar")
    data = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    ends = last.offset_data + 512
    for length in (
        ends,
        ends - 700,
        200,
        1100,
    ):  # without its end, in a member, in a header, in the first picture
        (tmp_path / "cut.tar").write_bytes(data[:length])
        with pytest.raises(BadFile, match=r"cut.tar is cut short"):
            of_path(tmp_path / "cut.tar")


def test_a_tar_without_some_labels_or_compressed_is_an_error(tmp_path):
    class_folders(tmp_path / "classes")
    with tarfile.open(tmp_path / "packed.tar", "w") as archive:
        for name in WNIDS:
            archive.add(tmp_path / "classes" / name, name)
    assert told(of_imagenet(tmp_path / "packed.tar")) == as_made()
    with tarfile.open(tmp_path / "packed.tar", "a") as archive:
        (tmp_path / "x.cls").write_text("3")
        archive.add(tmp_path / "x.cls", "x.cls")
    with pytest.raises(BadFile, match=r"x.cls is the label of no picture"):
        of_path(tmp_path / "packed.tar")
    with tarfile.open(tmp_path / "zipped.tar", "w:gz") as archive:
        archive.add(tmp_path / "classes", "classes")
    with pytest.raises(BadFile, match="compressed or no tar file"):
        of_path(tmp_path / "zipped.tar")


def test_a_tar_that_changes_is_an_error(tmp_path):
    path = tar(tmp_path / "whole.tar")
    listing = of_path(path)
    path.write_bytes(path.read_bytes() + bytes(512))

    with pytest.raises(BadFile, match="changed since its pictures were listed"):
        listing.files.read(0)


def test_parquet_of_another_form_is_named(tmp_path, monkeypatch):
    path = parquet(tmp_path / "six.parquet")
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadFile, match=r"cut.parquet is cut short or no parquet file"):
        of_path(tmp_path / "cut.parquet")
    import pyarrow as pa
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"img": [1], "label": [0]}), tmp_path / "other.parquet")
    with pytest.raises(BadFile, match="has no column 'image'; did you mean 'img'"):
        of_path(tmp_path / "other.parquet")
    rows = [{"bytes": jpeg(0), "path": None}]
    pq.write_table(pa.table({"image": rows, "label": [[0, 1]]}), tmp_path / "several.parquet")
    with pytest.raises(BadFile, match="label must hold one whole number each, not list"):
        of_path(tmp_path / "several.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs the package pyarrow.*robustbench-ms\[parquet\]"):
        of_path(path)


@pytest.mark.parametrize(
    ("rows", "head", "words"),
    [
        (["a.png,0"], "file,label", "must name the columns path and label, and names file, label"),
        (["a.png,0", "b.png"], "path,label", "line 3 has 1 fields, not 2"),
        (["a.png,"], "path,label", "line 2 has no label"),
        (["a.png,3;5"], "path,label", "'3;5' are several labels of one picture"),
    ],
)
def test_a_table_of_another_form_names_the_line(tmp_path, rows, head, words):
    with pytest.raises(BadFile, match=words):
        of_path(table(tmp_path / "t.csv", rows, head))


def manifest(path, count):
    with path.open("w") as file:
        file.write("path,label\n")
        for number in range(count):
            file.write(f"val/n{number % 1000:08d}/ILSVRC2012_val_{number:08d}.JPEG,{number % 1000}\n")
    return path


def measured(path):
    """Bytes an entry that a listing keeps, and the Python objects that it has made."""
    import gc
    import tracemalloc

    gc.collect()
    before = len(gc.get_objects())
    tracemalloc.start()
    try:
        found = find_in_table(path)
        order = np.array([int(word) for word in found.words])
        listing = listed(found, order[found.codes], 1000, path)
        del found, order
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        objects = len(tracemalloc.take_snapshot().traces)
    finally:
        tracemalloc.stop()
    assert listing.ids[0] == 0
    assert listing.files.name(len(listing.ids) - 1).endswith(f"{len(listing.ids) - 1:08d}.JPEG")
    assert len(gc.get_objects()) - before < 1_000
    return kept / len(listing.ids), objects


def test_a_listing_keeps_few_bytes_and_no_object_an_entry(tmp_path):
    size, objects = measured(manifest(tmp_path / "t.csv", 20_000))

    assert size + 16 <= 150  # 16 more for the stamps, which are asked of files that are there
    assert objects < 2_000


@pytest.mark.slow
def test_and_so_does_one_of_all_of_imagenet(tmp_path):
    size, objects = measured(manifest(tmp_path / "t.csv", 1_200_000))

    assert size + 16 <= 150
    assert objects < 2_000


def test_what_is_at_a_path_is_found_by_its_split(tmp_path):
    tar(tmp_path / "w" / "train-0.tar", {1: six()[1]})
    tar(tmp_path / "w" / "val-0.tar", {2: six()[2]})

    assert [find_at(tmp_path / "w", "val").files.name(0)] == ["ILSVRC2012_val_00000002.JPEG"]
    assert len(find_at(tmp_path / "w").files) == 2
