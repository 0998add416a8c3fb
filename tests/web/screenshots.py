#!/usr/bin/python3
"""screenshots.py [FOLDER]: the pictures of the page for README, dark and light, and of a phone and a large screen to look at.

The quickstart's desk trades for a minute, and the page is photographed while it does: page-dark.webp and page-light.webp, 1280 × 800.
README's are in deploy/; what FOLDER gets beside them is to be looked at.
"""

import base64
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import support
from browser import chromium, colours

ADDRESS = "127.0.0.1:8399"
TRADING_S = 75
BYTES_MAX = 150 * 1024
VIEWS = {"page": (1280, 800, "desk"), "large": (2560, 1440, "desk"), "phone": (390, 844, "desk"), "candles": (1280, 800, "candles"), "orders": (1280, 800, "orders"),
         "pipeline": (1280, 800, "pipeline")}  # fmt: skip


def photograph(folder, address, token):
    for name, (width, height, page) in VIEWS.items():
        browser = chromium(width, height)
        colours(browser, "dark")
        browser.get(f"http://{address}/#{token}")
        browser.execute_script("location.hash = '#/' + arguments[0]", page)
        support.wait_until(lambda: browser.execute_script("return document.querySelectorAll('main td, main canvas').length") > 1)
        # the charts are asked for after the figures
        settled = time.monotonic() + 4
        support.wait_until(lambda: time.monotonic() > settled)
        for scheme in ("dark", "light"):
            colours(browser, scheme)
            for quality in (90, 75, 60):
                data = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": quality})["data"]
                picture = base64.b64decode(data)
                if len(picture) < BYTES_MAX:
                    break
            path = folder / f"{name}-{scheme}.webp"
            path.write_bytes(picture)
            print(f"{path}: {len(picture) // 1024} KiB")
        browser.quit()


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else support.TREE / "deploy"
    servers = support.Servers()
    try:
        servers.drain()
        servers.drain()
        desk = [support.BUILD / "example/desk", "--redis", servers.settings["BLOTTER_REDIS"], "--journal", servers.journal("desk")]
        servers.start(*desk, "--strategies", "40", "--rate", "60", "--seconds", "600", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        web = servers.start(servers.program, "web", "--listen", ADDRESS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        token = web.stdout.readline().strip().split("#")[1]
        traded = time.monotonic() + TRADING_S
        support.wait_until(lambda: time.monotonic() > traded, timeout=TRADING_S + support.TIMEOUT)
        photograph(folder, ADDRESS, token)
    finally:
        servers.close()


if __name__ == "__main__":
    main()
