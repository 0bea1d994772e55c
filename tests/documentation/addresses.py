"""Outside addresses of the pages: held for form, and to the one list of them; none is asked."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from tests.documentation.pages import ROOT, place, tokens

LIST = ROOT / "docs" / "addresses.txt"
_BARE = re.compile(r"https?://[^\s<>()\[\]`\"']+")


def addresses(page: Path) -> list[tuple[int, str]]:
    """(line of its paragraph, address) of links, pictures, and what is written out in sentences."""
    found = []
    for token in tokens(page):
        if token.type != "inline":
            continue
        for child in token.children:
            target = child.attrs.get("href") or child.attrs.get("src") or ""
            told = [target] if re.match(r"[a-z]+:", target) else []
            if child.type == "text":
                told += [address.rstrip(".,;:") for address in _BARE.findall(child.content)]
            found += [(token.map[0] + 1, address) for address in told]
    return found


def fault(address: str) -> str | None:
    """What is wrong with its form."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme != "https":
        return "it is not https"
    if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", host):
        return f"{host!r} is no host"
    return None if re.fullmatch(r"[!-~]+", address) else "it has characters that an address cannot have"


def held(pages: list[Path], listed: set[str]) -> list[str]:
    """Faults with page and line: of form, and addresses that the list lacks or has for nothing."""
    found = [(page, line, address) for page in pages for line, address in addresses(page)]
    faults = [
        f"{place(page, line)}: {address}: {why}" for page, line, address in found if (why := fault(address))
    ]
    faults += [
        f"{place(page, line)}: {address} is not in {LIST.name}"
        for page, line, address in found
        if address not in listed
    ]
    left = sorted(listed - {address for _, _, address in found})
    return faults + [f"{LIST.name}: no page has {address}" for address in left]


def written(pages: list[Path]) -> str:
    return "".join(
        f"{one}\n" for one in sorted({address for page in pages for _, address in addresses(page)})
    )
