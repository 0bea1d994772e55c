"""Published weights without a network: known in seconds, where the libraries try for a minute and print each time."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch

from robustbench_ms.errors import UserError

__all__ = ["WAIT", "fetching", "silence"]

WAIT = 3.0
"""Seconds for an answer; the name is looked up within one more, which no timeout of a socket covers."""


def silence(url: str) -> str | None:
    """Why nothing answers at a URL; None where something does, whatever it says. Goes by the environment's proxies."""
    told: list[str | None] = [f"no answer within {WAIT:g} s"]

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=WAIT).close()  # noqa: S310 - a library's own address
            told[0] = None
        except HTTPError:
            told[0] = None
        except URLError as error:
            # Whether its certificate is to be trusted is the library's to say.
            told[0] = None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
        except (OSError, ValueError, HTTPException) as error:
            told[0] = str(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(WAIT + 1)
    return told[0]


@contextmanager
def fetching(url: str | None, *, hub: bool) -> Iterator[None]:
    """While a library builds a model with its published weights, from Hugging Face's `hub` or from a URL.

    Where nothing answers, what the caches hold is taken, and UserError says what is not there.
    """
    from huggingface_hub import constants

    where = constants.ENDPOINT if hub else url
    kept = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url or "").path).name)
    offline = constants.HF_HUB_OFFLINE
    if where is None or (hub and offline) or (not hub and kept.is_file()) or (why := silence(where)) is None:
        yield
        return
    told = (
        f"its published weights are in no cache here, and {urlsplit(where).netloc} cannot be reached ({why})"
    )
    if not hub:
        raise UserError(told)
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except OSError as error:  # the hub's library is told to stay offline, and its cache has no such file
        raise UserError(told) from error
    finally:
        constants.HF_HUB_OFFLINE = offline
