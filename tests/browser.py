"""A real browser, without a window, that looks at a page and says what it finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_PAGE = """<!doctype html><meta charset="utf-8"><body style="margin:0">%s<pre id="found"></pre><script>
document.getElementById("found").textContent = JSON.stringify((() => { %s })());
</script></body>"""


def look_at(directory: Path, markup: str, script: str, *flags: str) -> Any:
    """Show `markup` in a page, and return what `script`, the body of a function, returns there.

    The test fails where CI has no browser, and is left out on other machines without one.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine, and CI forbids to leave its tests out")
        pytest.skip("no chromium on this machine")
    page = directory / "page.html"
    page.write_text(_PAGE % (markup, script), encoding="utf-8")
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1600,1200",
            f"--user-data-dir={directory / 'browser'}", *flags, "--dump-dom", page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    return json.loads(unescape(found[1]))
