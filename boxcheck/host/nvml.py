"""Starts the process that asks NVML. The one part of a live reading that needs a vendor's library."""

from __future__ import annotations

from typing import Any

from boxcheck.host.programs import STARTED, start_session
from boxcheck.model import Unread

TIMEOUT_SECONDS = 9.0
"""Below `LiveHost`'s own limit for an answer. Without persistence mode the driver starts every GPU first."""
OUTPUT_LIMIT_BYTES = 4 << 20


def ask_nvml() -> dict[str, Any] | Unread:
    """NVML's answers as `nvml_child` prints them; Unread when there is no binding or no answer in time."""
    import json
    import os
    import subprocess
    import sys
    from importlib.util import find_spec

    if find_spec("pynvml") is None:
        why = "NVML was not asked: nvidia-ml-py is not installed (pip install nvidia-ml-py)"
        return Unread(why, "unsupported")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nvml_child.py")
    # -P: the child must not import from the directory that boxcheck was started in.
    process = start_session(
        [sys.executable, "-P", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # a process that hangs inside the driver does not die of it; it is left behind
        if process.stdout is not None:
            process.stdout.close()
        return Unread(f"NVML gave no answer within {TIMEOUT_SECONDS:g} s", "timeout")
    finally:
        STARTED.discard(process.pid)
    if process.returncode != 0 or len(out) > OUTPUT_LIMIT_BYTES:
        return Unread(f"NVML's process ended with status {process.returncode}", "error")
    try:
        value = json.loads(out)
    except ValueError:
        return Unread("NVML's process printed no JSON", "malformed")
    return value if isinstance(value, dict) else Unread("NVML's process printed no object", "malformed")
