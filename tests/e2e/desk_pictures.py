"""Pictures of every page of the admin desk, for docs/: ``python -m tests.e2e.desk_pictures FOLDER``."""

import base64
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from playwright.sync_api import BrowserContext

from tests.e2e.desk_site import LOOKS, PAGES, chromium, desk_site, fill, open_context, sign_in
from tests.e2e.gateway_process import Site

_MAX_HEIGHT = 1600


def main(folder: Path) -> None:
    """Put ``<page>-<look>.webp`` there for each."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, desk_site(Site(Path(scratch))) as desk:
        fill(desk)
        desk.wait_until_counted()
        _make_up_a_day(desk.site.data_dir / "catalog.sqlite3")
        with chromium() as launched:
            for look in LOOKS:
                context = open_context(launched, desk.url, look)
                sign_in_page = context.new_page()
                sign_in_page.goto("/admin/")
                _take(context, "/admin/", folder / f"sign-in-{look.name}.webp")
                sign_in(sign_in_page)
                for name, path in PAGES.items():
                    _take(context, path, folder / f"{name}-{look.name}.webp")
                context.close()


def _make_up_a_day(catalog: Path) -> None:
    """What was served in the hours before: a chart of one bar shows little."""
    this_hour = int(time.time()) // 3600 * 3600
    rows = [
        (
            3600,
            this_hour - hour * 3600,
            outcome,
            "helm",
            round(share * (1.2 - abs(12 - hour) / 12) * 400),
            40 << 20,
        )
        for hour in range(1, 24)
        for outcome, share in (
            ("hit", 1.0),
            ("joined", 0.05),
            ("stale", 0.04),
            ("miss", 0.12),
            ("not_found", 0.02),
        )
    ]
    with closing(sqlite3.connect(catalog)) as connection, connection:
        connection.executemany("INSERT OR IGNORE INTO activity VALUES (?, ?, ?, ?, ?, ?)", rows)


def _take(context: BrowserContext, path: str, picture: Path) -> None:
    page = context.new_page()
    page.goto(path)
    page.get_by_role("heading", level=1).wait_for()
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], _MAX_HEIGHT), "scale": 1}
    taken = context.new_cdp_session(page).send(
        "Page.captureScreenshot",
        {"format": "webp", "quality": 80, "clip": clip, "captureBeyondViewport": True},
    )
    picture.write_bytes(base64.b64decode(taken["data"]))
    page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
