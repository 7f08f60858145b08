"""What every page is made with: templates that escape all they are given, and one style sheet known by its hash."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jinja2
from markupsafe import Markup

from audit.text import count, shown
from audit.wording import label
from labeler.pack import resource_folder


def environment(*, html: bool = True) -> jinja2.Environment:
    """Return the environment of the templates that come with the package.

    Parameters
    ----------
    html : bool
        Escape what goes into a template as HTML does.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_folder("templates")),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    made.filters |= {"count": count, "label": label, "shown": shown}
    return made


def style(*names: str) -> dict[str, Any]:
    """Return the style sheets of these names as one, and the hash by which a content-security policy lets it through.

    Returns
    -------
    dict
        ``style`` and ``style_hash``, as a template takes them.
    """
    folder = resource_folder("templates")
    text = "".join((folder / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"style": Markup(text), "style_hash": digest}
