"""Pages out of plain data: templates that escape everything, the two scripts and plotly's own file."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.site.text import as_json, plain

__all__ = ["STATIC", "page", "plotly", "static"]

STATIC = ("site.css", "site.js", "plots.js")
_MISSING = "pages need the extra `site`: pip install 'robustbench-ms[site]'"


@cache
def _templates() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise UserError(f"jinja2 is not installed; {_MISSING}") from error
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("robustbench_ms.site", folder) for folder in ("templates", "static")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(template: str, *, data: Any = None, **given: Any) -> bytes:
    """A page of a template: all text in it printable and escaped, `data` as JSON inside it, with its digest."""
    told = as_json(data)
    text = _templates().get_template(template)
    shown = {name: plain(value) for name, value in given.items()}
    digest = "" if data is None else hashlib.sha256(told.encode()).hexdigest()
    return str(text.render(**shown, data=told, digest=digest)).encode()


def static() -> dict[str, bytes]:
    """What stands beside the pages, by file name."""
    folder = files("robustbench_ms.site") / "static"
    return {name: (folder / name).read_bytes() for name in STATIC}


def plotly() -> bytes:
    """plotly.min.js as plotly's wheel has it; UserError where it is not installed."""
    try:
        return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except (ImportError, OSError) as error:
        raise UserError(f"plotly is not installed; {_MISSING}") from error
