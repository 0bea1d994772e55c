"""Small picture files, and the layouts that they lie in: made for tests, by no code of the product."""

from __future__ import annotations

import io
import tarfile

import numpy as np
from PIL import Image

WNIDS = ("n01440764", "n02102040", "n03888257")
"""Tench, English springer and parachute: classes 0, 217 and 701 of ImageNet (synset_words.txt)."""
PLACES = (0, 217, 701)


def jpeg(seed, side=8):
    """A JPEG file's bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(data, "JPEG")
    return data.getvalue()


def name_of(number):
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def six(side=8):
    """{number: (place among WNIDS, bytes)} of six of ImageNet's pictures, two a class, the classes mixed."""
    return {number: ((number * 2) % 3, jpeg(number, side)) for number in (1, 2, 3, 4, 5, 6)}


def class_folders(root, pictures=None, names=WNIDS, called=name_of):
    """<root>/<class>/<picture>."""
    for number, (place, data) in (pictures or six()).items():
        (root / names[place]).mkdir(parents=True, exist_ok=True)
        (root / names[place] / called(number)).write_bytes(data)
    return root


def flat(root, pictures=None):
    """<root>/<picture>."""
    root.mkdir(parents=True, exist_ok=True)
    for number, (_, data) in (pictures or six()).items():
        (root / name_of(number)).write_bytes(data)
    return root


def tar(path, pictures=None, places=PLACES):
    """A tar as WebDataset writes them: the picture, then its class index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (place, data) in (pictures or six()).items():
            stem = name_of(number).removesuffix(".JPEG")
            for name, text in ((f"{stem}.JPEG", data), (f"{stem}.cls", str(places[place]).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
    return path


def parquet(path, pictures=None, places=PLACES, rows=4):
    """A parquet file as Hugging Face's hub has them, in row groups."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    found = pictures or six()
    table = pa.table(
        {
            "image": [
                {"bytes": data, "path": name_of(number).replace(".JPEG", f"_{WNIDS[place]}.JPEG")}
                for number, (place, data) in found.items()
            ],
            "label": [places[place] for place, _ in found.values()],
        }
    )
    pq.write_table(table, path, row_group_size=rows)
    return path
