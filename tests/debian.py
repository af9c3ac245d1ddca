"""Tests that need programs of Debian's: they skip without, and say what installs them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

# What brings each; .ci/run installs all of them.
PACKAGES = {
    "gst-launch-1.0": "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good",
    "x264enc": "gstreamer1.0-plugins-ugly",
    "gst-rtsp-server": "gir1.2-gst-rtsp-server-1.0 python3-gi",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}
_IMPORT = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def needs_debian(*names: str) -> None:
    """Skip the test where one of `names` is missing."""
    missing = [name for name in names if not _is_there(name)]
    if missing:
        packages = " ".join(PACKAGES[name] for name in missing)
        pytest.skip(f"apt-get install --no-install-recommends {packages}")


@cache
def _is_there(name: str) -> bool:
    command = {
        "gst-launch-1.0": ["gst-launch-1.0", "--version"],
        "chromium": ["chromium", "--version"],
        "chromedriver": ["chromedriver", "--version"],
        "x264enc": ["gst-inspect-1.0", "x264enc"],
        "gst-rtsp-server": ["/usr/bin/python3", "-c", _IMPORT],
    }[name]
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
