"""rbms doctor: what this installation has, and what gets the rest."""

from __future__ import annotations

import sys
from dataclasses import asdict

from robustbench_ms.cli.options import Cache, Data, Json, Results, print_json

__all__ = ["command"]


def command(
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Versions, devices, folders, data sets and extras; exit 1 only where the installation is broken."""
    from robustbench_ms.catalog.registry import check_places
    from robustbench_ms.fetching.doctor import examined
    from robustbench_ms.specs.places import Places

    places = Places.find(data, results, cache)
    check_places(places)
    found = examined(places)
    if as_json:
        print_json(asdict(found))
    else:
        print(", ".join(f"{name} {told}" for name, told in found.versions.items()))
        cuda = found.devices["cuda"]
        devices = ", ".join(cuda) if isinstance(cuda, list) and cuda else "no CUDA device"
        print(f"{devices}; {found.devices['cores']} cores, {found.devices['threads']} threads of torch")
        print()
        for what, row in found.folders.items():
            there = "" if row["there"] else "not there yet, "
            written = "writable" if row["writable"] else f"cannot be written (--{what})"
            print(f"{what:8} {row['path']}: {there}{written}, {int(str(row['free'])) / 1e9:.1f} GB free")
        print()
        for name, row in found.datasets.items():
            if row["found"]:
                print(f"{name:16} {row['found']}")
            else:
                looked = row["looked"]
                where = " nor in ".join(map(str, looked if isinstance(looked, tuple) else ()))
                print(f"{name:16} not in {where}" + (f"; {row['fetch']}" if row["fetch"] else ""))
        print()
        for extra, row in found.extras.items():
            had = "installed" if row["installed"] else f"pip install 'robustbench-ms[{extra}]'"
            print(f"{extra:10} {had}, for {row['for']}")
    if found.broken:
        for one in found.broken:
            print(f"rbms: the installation is broken: {one}", file=sys.stderr)
        sys.exit(1)
