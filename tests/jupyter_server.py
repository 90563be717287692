"""JupyterLab for tests: on this machine's own address, in folders of its own, ended at the end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 120
"""Seconds for the server to come up."""


@dataclass(frozen=True)
class Jupyter:
    address: str
    token: str

    def lab(self, notebook: str) -> str:
        return f"{self.address}/lab/tree/{notebook}?token={self.token}"

    def call(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(
            f"{self.address}/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            found: bytes = response.read()
            return found


@contextlib.contextmanager
def start_jupyter(folder: Path) -> Iterator[Jupyter]:
    """Serve the notebooks in `folder / "notebooks"`. Settings, history and logs stay in `folder`;
    nothing is looked up outside: no news, no updates, no list of extensions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    jupyter = Jupyter(f"http://127.0.0.1:{port}", secrets.token_hex(16))
    log = folder / "jupyter.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab"],
            cwd=folder, env=_environment(folder, jupyter, port),
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_until_up(server, jupyter, log)
            yield jupyter
        finally:
            _end(server, jupyter)


def _environment(folder: Path, jupyter: Jupyter, port: int) -> dict[str, str]:
    names = "HOME IPYTHONDIR JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR"
    lab = "JUPYTERLAB_SETTINGS_DIR JUPYTERLAB_WORKSPACES_DIR"
    places = {name: folder / name.lower() for name in f"{names} {lab}".split()}
    for place in places.values():
        place.mkdir()
    config = {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port": port,
            "port_retries": 0,
            "root_dir": str(folder / "notebooks"),
            "open_browser": False,
            "allow_root": True,
        },
        "IdentityProvider": {"token": jupyter.token},
        "LabApp": {
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "extension_manager": "readonly",
        },
    }
    for name in ("jupyter_server_config.json", "jupyter_lab_config.json"):
        (places["JUPYTER_CONFIG_DIR"] / name).write_text(json.dumps(config), encoding="utf-8")
    told = places["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "apputils-extension"
    told.mkdir(parents=True)
    asked = {"fetchNews": "false", "checkForUpdates": False}
    (told / "notification.jupyterlab-settings").write_text(json.dumps(asked), encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTEST"))}
    return {**kept, **{name: str(place) for name, place in places.items()}}


def _wait_until_up(server: subprocess.Popen[bytes], jupyter: Jupyter, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            jupyter.call("api/status")
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8"))


def _end(server: subprocess.Popen[bytes], jupyter: Jupyter) -> None:
    """Ask it to shut its kernels and itself down; make it, where it does not."""
    if server.poll() is None:
        with contextlib.suppress(OSError):
            jupyter.call("api/shutdown", "POST")
    for kind in (None, signal.SIGTERM, signal.SIGKILL):
        if kind is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
            return
