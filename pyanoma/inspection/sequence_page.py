"""A sequence of messages as one page for a browser: a sequence diagram that needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import Final

from pyanoma.inspection.sequence_text import Named, as_json
from pyanoma.inspection.sequences import Sequence

_TEMPLATE: Final = "sequence_page.html"


def page(sequence: Sequence, names: Named, node: str) -> str:
    """The whole page, as HTML: data, style and script are inside."""
    data = json.dumps(as_json(sequence, names, node), ensure_ascii=False, separators=(",", ":"))
    # So that no text in a message can end the script element that the data stands in.
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    template = resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8")
    before, _, after = template.partition("@DATA@")
    return before.replace("@NODE@", html.escape(node)) + data + after
