"""One guest: QEMU without KVM, its serial ports and monitor. Leaves no process, mount or file behind.

KVM is never used: on machines that are virtual themselves it opens and then dies. A guest's root is a memory file system
with the host's /usr, the Python and the checkout bound into it, read-only, over 9p.
"""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.kernel.cache import GUEST_MIB, Unavailable, place_for_a_guest, seconds
from tests.kernel.fetch import Bench, Kernel
from tests.kernel.image import unpacked
from tests.kernel.initramfs import CHECKOUT, mounts, overlay
from tests.kernel.poke import Memory
from tests.kernel.qmp import Monitor, MonitorError

GUEST = Path(__file__).parent / "guest"
BOOT_SECONDS = 60.0
BASE_CMDLINE = ("console=ttyS0 panic=-1 quiet log_buf_len=4M no_timer_check nowatchdog "
                "init_on_alloc=0 cryptomgr.notests nokaslr audit=0 lsm=lockdown")
"""no_timer_check: where the host is so busy that no tick comes while the kernel waits for some, it calls its timer broken and
stops ("IO-APIC + timer doesn't work"); nowatchdog: nor does it say then that a processor is locked up. The second line leaves
out what costs an emulated processor time at each boot, and nobody looks at."""
PR_SET_PDEATHSIG = 1
ACCELERATOR = "tcg,thread=single"
"""Both processors of the guest in one thread. In a thread each, QEMU 10.0 breaks now and then when one of them maps a device
while the other runs (an assertion in iotlb_to_section, system/physmem.c), and instructions cost more."""
PROCESSOR = "max,-erms,-fsrm,-la57,-smap,-smep,-pku,-pks,-umip"
"""Without what kernel and C library take for fast and an emulated processor is slow at: `rep movsb` and `rep stosb`, which it
does byte by byte, and for each page and copy; a fifth level of page tables; guards of the kernel at each call."""
FOLDER = "boxcheck-bench-"
SERIAL, AGENT, MONITOR = "console", "agent", "monitor"

WITHOUT = "bench/without"
"""What comes first where Python looks. No OpenCL is in the guest, as on most machines: it would show none of these cards, and
takes 5 s of the processor at each look for devices."""

TESTER = 1000
"""uid of the guest's unprivileged user."""

ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000:tester:/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\ndialout:x:20:\nlp:x:7:\ncdrom:x:24:\ntape:x:26:\naudio:x:29:\n"
             "video:x:44:\nsgx:x:105:\nkvm:x:106:\ninput:x:107:\nrender:x:108:\ntester:x:1000:\nnogroup:x:65534:\n",
    "hostname": "bench\n",
    "os-release": 'ID=boxcheck-bench\nNAME="boxcheck bench"\nPRETTY_NAME="boxcheck bench"\nVERSION_ID="1"\n',
}


@dataclass(frozen=True)
class Spent:
    """What a guest that is gone has cost."""

    name: str
    boot_seconds: float
    boot_processor_seconds: float
    seconds: float
    processor_seconds: float
    """Of QEMU, over all. Unlike the time that went by it says the same on a busy host, nearly."""


SPENT: list[Spent] = []


class GuestError(Exception):
    """The guest did not do what it must: it did not boot, hung or died."""


@dataclass(frozen=True)
class Done:
    """What a program in the guest did."""

    exit: int
    out: str
    err: str
    seconds: float

    def ok(self) -> str:
        if self.exit:
            raise GuestError(f"exit code {self.exit}: {self.err[-2000:] or self.out[-2000:]}")
        return self.out


def _die_with_parent() -> None:
    """In the child, before QEMU starts: a bench that is killed takes its guest with it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Ctrl-C is for the bench, which ends QEMU in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _sweep() -> None:
    """Removes folders of benches that were killed outright."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        pid = path.name.removeprefix(FOLDER).split("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


class Guest:
    """A context manager: boots on entering, is gone on leaving."""

    def __init__(
        self, bench: Bench, kernel: Kernel, arguments: Sequence[str], cmdline: str = "", before: str = "",
        etc: Mapping[str, bytes] | None = None, paused: bool = False, name: str = "",
    ) -> None:
        """`name`: for what is told of its cost. `before`: lines of shell that run before anything else of user space; `etc`: more files below /etc."""
        self.bench, self.kernel = bench, kernel
        self.cmdline = f"{BASE_CMDLINE} {cmdline}".strip()
        self._arguments = list(arguments)
        self._before, self._etc = before, dict(etc or {})
        self._paused = paused
        self._name = f"{name}@{kernel.series}"
        self._number = 0
        self._buffer = b""
        self._stack = contextlib.ExitStack()
        self.boot_limit_seconds = BOOT_SECONDS
        self.boot_seconds = self.boot_processor_seconds = 0.0
        self.monitor: Monitor
        self.memory: Memory
        self.folder: Path
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Guest:
        try:
            self._stack.enter_context(place_for_a_guest())
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _start(self) -> None:
        compileall.compile_dir(str(CHECKOUT / "boxcheck"), quiet=2)
        _sweep()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-")))
        (self.folder / "out").mkdir()
        (self.folder / "out").chmod(0o777)
        (self.folder / "initrd").write_bytes(self.kernel.modules.read_bytes() + self._overlay())
        self._began = time.monotonic()
        with open(self.folder / "qemu.err", "wb") as errors:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, preexec_fn=_die_with_parent,
                env={**os.environ, **self.bench.qemu_environment()})
        self._stack.callback(self._end)
        self._line = self._connect(AGENT)
        self._stack.callback(self._line.close)
        self._connect_monitor()
        self.memory = Memory(self.process.pid)
        self._stack.callback(self.memory.close)
        if not self._paused:
            self.wait_for_boot(self._began)

    def wait_for_boot(self, began: float) -> None:
        answer = self._answer(seconds(self.boot_limit_seconds), "boot")
        if "ready" not in answer:
            raise GuestError(f"the guest began with {answer}")
        self.boot_seconds = time.monotonic() - began
        self.boot_processor_seconds = self.processor_seconds()

    def processor_seconds(self) -> float:
        """What QEMU has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resume(self) -> None:
        """Starts a guest that was made with `paused`."""
        began = time.monotonic()
        self.monitor.ask("cont")
        self.wait_for_boot(began)

    def _overlay(self) -> bytes:
        files: dict[str, bytes | tuple[bytes, int]] = {
            "init": ((GUEST / "init").read_bytes(), 0o755), "etc/bench.mounts": mounts(),
            "bench/start": ((GUEST / "start").read_bytes(), 0o755), "bench/agent.py": (GUEST / "agent.py").read_bytes(),
            f"{WITHOUT}/pyopencl.py": b"raise ImportError('left out of the guest')\n",
            "etc/bench.environment": self._environment(),
            **{f"etc/{name}": text.encode() for name, text in ETC.items()},
            **{f"etc/{name}": data for name, data in self._etc.items()},
        }
        if self._before:
            files["etc/bench.before"] = self._before.encode()
        return overlay(files, {})

    def _environment(self) -> bytes:
        python = sys.executable
        paths = [path for path in sys.path if path and Path(path).is_dir() and "site-packages" in path]
        path = ":".join([f"/{WITHOUT}", str(CHECKOUT), *paths])
        names = {
            # PYTHONPATH is for what boxcheck starts; the agent itself is isolated (-I) and goes by BENCH_PATH.
            "BENCH_PYTHON": python, "BENCH_PATH": path, "PYTHONPATH": path, "HOME": "/root", "LANG": "C.UTF-8",
            "PATH": f"{sys.prefix}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_STATE_HOME": "/tmp/state", "TERM": "dumb",
        }
        return "".join(f"export {name}='{value}'\n" for name, value in names.items()).encode()

    def _command(self) -> list[str]:
        def chardev(name: str, log: str = "") -> str:
            return f"socket,id={name},path={self.folder}/{name},server=on,wait=off{log}"

        return [
            *self.bench.qemu_command(), "-accel", ACCELERATOR, "-cpu", PROCESSOR, "-smp", "2", "-m", str(GUEST_MIB),
            "-display", "none", "-vga", "none", "-nic", "none", "-nodefaults", "-no-reboot",
            "-chardev", f"file,id={SERIAL},path={self.folder}/console.log", "-serial", f"chardev:{SERIAL}",
            "-chardev", chardev(AGENT), "-serial", f"chardev:{AGENT}",
            "-chardev", chardev(MONITOR), "-mon", f"chardev={MONITOR},mode=control",
            "-kernel", str(unpacked(self.kernel.image)), "-initrd", str(self.folder / "initrd"), "-append", self.cmdline,
            *(["-S"] if self._paused else []), *self._arguments,
            # Last, with places of their own: bridges before them would otherwise get them.
            "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=host,mount_tag=host,bus=pcie.0,addr=0x1d",
            "-fsdev", f"local,id=out,path={self.folder}/out,security_model=none",
            "-device", "virtio-9p-pci,fsdev=out,mount_tag=out,bus=pcie.0,addr=0x1e",
        ]

    def _connect(self, name: str) -> socket.socket:
        end = time.monotonic() + seconds(10)
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise GuestError(f"QEMU ended: {self.qemu_errors()}")
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(self.folder / name))
                return line
            except OSError:
                line.close()
                time.sleep(0.02)
        raise GuestError(f"QEMU opened no {name}")

    def _connect_monitor(self) -> None:
        self._connect(MONITOR).close()
        try:
            self.monitor = Monitor(self.folder / MONITOR, seconds(30))
        except (OSError, ValueError, MonitorError) as error:
            # Its sockets are open before it has looked at the devices it was asked for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds(5))
            raise GuestError(f"QEMU ended: {self.qemu_errors() or error}") from None
        self._stack.callback(self.monitor.close)

    def _end(self) -> None:
        """Ends QEMU. The guest's state is in memory: there is nothing to shut down."""
        if self.process.poll() is None:
            if self.boot_seconds:
                SPENT.append(Spent(self._name, self.boot_seconds, self.boot_processor_seconds, time.monotonic() - self._began,
                                   self.processor_seconds()))
            self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """Power loss."""
        self._end()

    def qemu_errors(self) -> str:
        return (self.folder / "qemu.err").read_text(errors="replace").strip()[-1000:]

    def console(self) -> str:
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def withheld_seconds(self) -> float:
        """For how long QEMU could have run so far and the host ran others, by the thread that waited longest
        (Documentation/scheduler/sched-stats.rst)."""
        waited = [0.0]
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                waited.append(int(path.read_text().split()[1]) / 1e9)
        return max(waited)

    def _answer(self, limit: float, what: str) -> dict[str, object]:
        """`limit`: seconds in which the host let QEMU run; on a busy host more go by."""
        began, withheld = time.monotonic(), self.withheld_seconds()
        while b"\n" not in self._buffer:
            left = limit - (time.monotonic() - began) + (self.withheld_seconds() - withheld)
            if left <= 0:
                raise GuestError(f"no answer within {limit:.0f} s ({what}); console: {self.console()[-1500:]}")
            self._line.settimeout(left)
            try:
                data = self._line.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise GuestError(f"the guest died ({what}); {self.qemu_errors()}; console: {self.console()[-1500:]}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer: dict[str, object] = json.loads(line)
        except ValueError:
            raise GuestError(f"the agent said {line[:200]!r} ({what})") from None
        return answer

    def _ask(self, limit: float, **request: object) -> Done:
        self.send(limit, **request)
        return self.receive()

    def send(self, limit: float, **request: object) -> None:
        """Asks without waiting: something else can be done to the guest meanwhile."""
        self._number += 1
        self._limit = seconds(limit)
        self._line.sendall(json.dumps({"n": self._number, "seconds": self._limit, **request}).encode() + b"\n")

    def said(self) -> str:
        """What the program that was sent last has printed so far, errors first."""
        found = [self.folder / "out" / f"{self._number}.{suffix}" for suffix in ("err", "out")]
        return "".join(path.read_text(errors="replace") for path in found if path.exists())

    def answered(self) -> bool:
        """Whether the request that was sent last has come to its end, or the guest to its own."""
        return b"\n" in self._buffer or bool(select.select([self._line], [], [], 0)[0])

    def receive(self) -> Done:
        answer = self._answer(self._limit + seconds(10), f"request {self._number}")
        if answer.get("n") != self._number:
            raise GuestError(f"the agent answered {answer} to request {self._number}")
        def text(suffix: str) -> str:
            path = self.folder / "out" / f"{self._number}.{suffix}"
            return path.read_text(errors="replace") if path.exists() else ""

        return Done(int(str(answer["exit"])), text("out"), text("err"), float(str(answer["seconds"])))

    def run(self, *argv: str, limit: float = 30, user: Sequence[int] | None = None, stdin: str = "",
            env: Mapping[str, str] | None = None) -> Done:
        """`user`: groups of the unprivileged user, the first one its own; None for root."""
        return self._ask(limit, argv=list(argv), stdin=stdin, env=dict(env or {}),
                         user=None if user is None else [TESTER, list(user)])

    def sh(self, script: str, limit: float = 30) -> str:
        """Output of a script of busybox's shell; raises where it fails."""
        return self.run("/bench/busybox", "sh", "-c", script, limit=limit).ok()

    def load(self, module: str) -> None:
        """Loads a module and what it needs; what is loaded already stays."""
        self.sh(f"while read -r name; do [ -e /sys/module/$name ] || /bench/busybox insmod /bench/mods/$name.ko; done "
                f"</bench/mods/{module}.order; [ -e /sys/module/{module} ]")

    def boxcheck(self, *words: str, limit: float = 400, user: Sequence[int] | None = None,
                 env: Mapping[str, str] | None = None) -> Done:
        return self._ask(limit, boxcheck=list(words), env=dict(env or {}),
                         user=None if user is None else [TESTER, list(user)])

    def beside(self, module: str, *argv: str) -> Path:
        """`main` of a module of this checkout, in a process of its own that goes on. Gives the file of its errors."""
        self._ask(120, beside=module, argv=list(argv)).ok()
        return self.folder / "out" / f"{self._number}.err"

    def read(self, *paths: str) -> dict[str, str]:
        """Files of the guest, one character a byte; those that cannot be read are left out."""
        found = json.loads(self._ask(20, read=list(paths)).ok())
        return {path: text for path, text in found.items() if isinstance(text, str)}

    def pread(self, path: str, offset: int, length: int) -> bytes:
        """os.pread in the guest; raises where that fails."""
        found = json.loads(self._ask(20, access=[["pread", path, offset, length]]).ok())[0]
        if not isinstance(found, str):
            raise GuestError(f"{found['call']} of {path}: {found['errno']}")
        return bytes.fromhex(found)

    def pwrite(self, path: str, offset: int, data: bytes) -> str:
        """One os.pwrite in the guest. Empty where all was taken, else the call that failed and its errno: `pwrite EPERM`."""
        found = json.loads(self._ask(20, access=[["pwrite", path, offset, data.hex()]]).ok())[0]
        if isinstance(found, dict):
            return f"{found['call']} {found['errno']}"
        return "" if found == len(data) else f"{found} of {len(data)} bytes"

    def take(self, path: str, to: Path) -> Path:
        """A file or tree that the guest left in /out."""
        source = self.folder / "out" / path
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True)
        else:
            shutil.copy(source, to)
        return to


__all__ = ["CHECKOUT", "Done", "Guest", "GuestError", "MonitorError", "Unavailable"]
