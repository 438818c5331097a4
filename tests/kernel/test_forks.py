"""Processes that a guest makes by a fork instead of a start of Python are what those that were started are, to the one who
started them: here on the host, where both can be had."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.kernel.vm import CHECKOUT

pytestmark = pytest.mark.skipif((platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="guests are Linux on x86_64")

STARTS = """
import json, os, subprocess, sys, time
if {forks}:
    from tests.kernel.guest import forks
    sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(2, "w")
    forks.begin()
os.environ["OF_THE_PARENT"] = "late"

def start(*words, **options):
    return subprocess.Popen([sys.executable, "-P", "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            **options)

told = {{}}
reader, writer = os.pipe()
child = start("{probe}", "one", str(writer), pass_fds=(writer,), start_new_session=True)
out, err = child.communicate(b"order\\n")
about = json.loads(out)
told["probe"] = [about["parent"] == os.getpid(), about["pid"] == child.pid, about["session"] == child.pid, about["words"], about["environ"],
                 about["order"], about["more"], about["name"], err.decode(), child.returncode]
os.close(writer)
told["passed"] = os.read(reader, 99).decode()
child = start("{probe}", "none", env={{**os.environ, "OF_THE_PARENT": "other"}})
about = json.loads(child.communicate(b"")[0])
told["other"] = [about["environ"], about["session"] == os.getsid(0)]
for how in ("exit", "raise", "says", "abort"):
    child = start("{probe}", how)
    err = child.communicate()[1].decode().splitlines()
    told[how] = [child.returncode, err[-1] if err else ""]
child = start("{probe}", "sleep", start_new_session=True)
child.stdout.readline()
os.killpg(child.pid, 9)
child.stdout.read()
told["killed"] = child.wait()
told["nothing"] = start("{probe}_not").wait()
nested = start("{probe}", "nested")
told["nested"] = [json.loads(nested.communicate()[0])["order"], nested.returncode]
print(json.dumps(told))
"""
PROBE = """
import json, os, subprocess, sys, time
kind = sys.argv[1]
if kind == "exit":
    sys.exit(7)
if kind == "raise":
    raise ValueError("broken")
if kind == "says":
    sys.exit("in words")
if kind == "abort":
    os.kill(os.getpid(), 6)
if kind == "sleep":
    print("up", flush=True)
    time.sleep(60)
if kind == "nested":
    child = subprocess.Popen([sys.executable, "-P", "-m", __spec__.name, "none"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(child.communicate(b"inner")[0].decode())
    sys.exit(child.returncode)
if kind == "one":
    os.write(int(sys.argv[2]), b"through a descriptor")
print(json.dumps({"parent": os.getppid(), "pid": os.getpid(), "session": os.getsid(0), "words": sys.argv[1:2],
                  "environ": os.environ["OF_THE_PARENT"], "order": sys.stdin.readline(), "name": __name__,
                  "more": sorted(int(one) for one in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{one}"))[:3]}))
"""


def starts(folder: Any, forks: bool) -> dict[str, Any]:
    package = folder / "boxcheck_probe"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "child.py").write_text(textwrap.dedent(PROBE))
    done = subprocess.run(
        [sys.executable, "-c", STARTS.format(forks=forks, probe="boxcheck_probe.child")], cwd=CHECKOUT, capture_output=True, text=True,
        check=False, timeout=120, env={"PYTHONPATH": f"{CHECKOUT}:{folder}", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_fork_is_to_its_parent_what_a_start_is(tmp_path: Any) -> None:
    forked = starts(tmp_path, True)
    assert forked == starts(tmp_path, False)
    assert forked["probe"] == [True, True, True, ["one"], "late", "order\n", [0, 1, 2], "__main__", "", 0]
    assert forked["passed"] == "through a descriptor"
    assert forked["other"] == ["other", True]
    assert forked["exit"] == [7, ""]
    assert forked["raise"] == [1, "ValueError: broken"]
    assert forked["says"] == [1, "in words"]
    assert forked["abort"] == [-signal.SIGABRT, ""]
    assert forked["killed"] == -signal.SIGKILL
    assert forked["nothing"] == 1
    assert forked["nested"] == ["inner", 0]
