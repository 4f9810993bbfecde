"""A headless Chromium, driven over its debugging pipe: it opens no port, and needs no library.

The commands and events are those of the Chrome DevTools Protocol.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PHONE, DESKTOP = (390, 844), (1280, 900)
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--remote-debugging-pipe", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Space": (32, " ")}
_PATIENCE_S = 30.0


def find_chromium() -> str | None:
    """Its path, or None where there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def chromium(program: str) -> Iterator[Chromium]:
    """One process with a profile of its own; both are gone afterwards."""
    to_browser, from_browser = os.pipe(), os.pipe()
    folder = tempfile.mkdtemp(prefix="chromium-")
    wired = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'  # the two numbers that it listens and speaks on
    process = subprocess.Popen(  # noqa: S603 - a program we looked up
        ["/bin/bash", "-c", wired, "chromium", program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_browser[0], from_browser[1]),
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    browser = Chromium(to_browser[1], from_browser[0])
    try:
        yield browser
        browser.send("Browser.close")
        process.wait(timeout=_PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser[1])
        os.close(from_browser[0])
        shutil.rmtree(folder, ignore_errors=True)


class Chromium:
    """Sends commands, and sorts what comes back into answers and events."""

    def __init__(self, write_to: int, read_from: int) -> None:
        self._write_to = write_to
        self._read_from = read_from
        self._buffer = b""
        self._number = 0
        self._tabs: dict[str, Tab] = {}

    def open(self, url: str, *, size: tuple[int, int] = DESKTOP, scheme: str = "light", scale: float = 1) -> Tab:
        """A page, loaded; `size` in CSS pixels, `scheme` as the reader prefers it. The one opened before is closed."""
        for before in self._tabs.values():
            self.send("Target.closeTarget", targetId=before.target)
        self._tabs.clear()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        width, height = size
        is_phone = width < 600
        tab.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=is_phone,
        )
        tab.prefer(scheme)
        tab.go(url)
        return tab

    def send(self, method: str, *, session: str = "", **params: object) -> dict[str, Any]:
        """A command's result.

        Raises:
            AssertionError: It was refused.
        """
        self._number += 1
        number = self._number
        command = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._write_to, json.dumps(command).encode() + b"\0")
        while True:
            message = self.read()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

    def read(self) -> dict[str, Any]:
        """The next message; an event is given to its tab besides."""
        ends_at = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_from], [], [], max(0.0, ends_at - time.monotonic()))
            assert ready, "Chromium does not answer"
            self._buffer += (read := os.read(self._read_from, 1 << 20))
            assert read, "Chromium is gone"
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        tab = self._tabs.get(message.get("sessionId", ""))
        if tab is not None and "method" in message:
            tab.hear(message["method"], message["params"])
        return message


@dataclass(slots=True)
class Tab:
    """One page."""

    browser: Chromium
    session: str
    target: str
    requests: list[str] = field(default_factory=list)
    """Addresses of everything it asked for."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of its console, and what its security policy refused."""
    _loads: int = 0

    def send(self, method: str, **params: object) -> dict[str, Any]:
        """A command for this page."""
        return self.browser.send(method, session=self.session, **params)

    def hear(self, event: str, params: dict[str, Any]) -> None:
        """Keep what a test asks for later."""
        if event == "Page.loadEventFired":
            self._loads += 1
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(params["entry"]["text"])

    def go(self, url: str) -> None:
        """Load `url`, and wait until it is there."""
        before = self._loads
        self.send("Page.navigate", url=url)
        while self._loads == before:
            self.browser.read()

    def prefer(self, scheme: str, *, media: str = "") -> None:
        """Light or dark; `media="print"` is the page as it is printed."""
        self.send(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - as JSON is
        """The value of a JavaScript expression; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key, down and up, wherever the focus is."""
        code, text = _KEYS[key]
        named = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def picture(self, path: Path) -> None:
        """What is seen of it, as WebP."""
        data = self.send("Page.captureScreenshot", format="webp", quality=82)["data"]
        path.write_bytes(base64.b64decode(data))
