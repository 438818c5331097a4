"""`boxcheck stress list` and `boxcheck stress run`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import msgspec

from boxcheck import __version__
from boxcheck.gpu import BACKENDS, Backend, GpuInfo
from boxcheck.judge import ExitCode, exit_code, strictly
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.report import columns_of
from boxcheck.report.output import refuse_place, write_output
from boxcheck.report.wrapping import wrapped
from boxcheck.stress import FAULTS
from boxcheck.stress.options import is_asked, wrong_option
from boxcheck.usage import UsageError, nearest


class Options(msgspec.Struct, frozen=True, kw_only=True):
    modules: tuple[str, ...]
    gpus: tuple[str, ...] = ()
    backend: str | None = None
    seconds: float = 10.0
    seed: int = 1
    inject: str | None = None
    options: tuple[str, ...] = ()
    profile: str | None = None
    json: str | None = None
    strict: bool = False
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def list_stress(json: str | None) -> int:
    """Modules with what they need and which faults they find, then the matrix kernels with their proof."""
    discover_stress()
    modules = [
        {"name": one.name, "title": one.title, "needs": {"gpus": one.peers}, "faults": list(one.faults)}
        for _, one in sorted(STRESSES.items())]
    if json:
        write_output(json, msgspec.json.format(msgspec.json.encode(modules), indent=1).decode())
        return 0
    from boxcheck.kernels.matrix import ELEMENTS
    from boxcheck.stress.kernel_choice import candidates, tuned

    columns = columns_of(sys.stdout)
    width = max(len(name) for name in STRESSES)
    for _, one in sorted(STRESSES.items()):
        needs = f" (needs {one.peers} GPUs)" if one.peers > 1 else ""
        text = f"{one.title}{needs}. Faults: {', '.join(one.faults)}."
        print("\n".join(wrapped(text, columns, f"{one.name:<{width}}  ", " " * (width + 2))))
    kernels = [*tuned(), *(candidates("", name)[-1] for name in ELEMENTS)]  # type: ignore[arg-type]
    width = max(len(kernel.name) for kernel in kernels)
    print("\nMatrix kernels: where each runs, and how it was proven")
    for kernel in kernels:
        archs = "any" if kernel.archs == ("*",) else " ".join(kernel.archs)
        power = "" if kernel.full_power else "  below full power"
        first = f"  {kernel.name:<{width}}  {archs:<18}  "
        print("\n".join(wrapped(f"{PROOFS[kernel.proof]}{power}", columns, first, " " * len(first))))
    for proof in dict.fromkeys((kernel.proof, kernel.proof_where) for kernel in kernels if kernel.proof_where):
        print("\n".join(wrapped(f"{PROOFS[proof[0]]}: {proof[1]}", columns, "  ", "    ")))
    return 0


PROOFS = {"hardware": "run on hardware", "emulator": "run in an emulator", "compiled": "only compiled"}


def run(options: Options) -> int:
    from boxcheck.commands.doctor import Options as DoctorOptions
    from boxcheck.commands.doctor import choose_profile, open_host
    from boxcheck.commands.put_back import refuse_changed, says_aside
    from boxcheck.engine.box_lock import whole_box
    from boxcheck.engine.fitting import without_work
    from boxcheck.engine.inspect import name_slots, read_facts
    from boxcheck.engine.modules import Wanted
    from boxcheck.engine.stress import find_devices, pick, run_stress, slots_of

    discover()
    discover_stress()
    modules = _modules(options.modules, options.options)
    wanted = Wanted(
        modules=modules, seconds=options.seconds, backend=backend_named(options.backend), gpus=options.gpus,
        seed=options.seed, options=_options(options.options, modules), inject=_fault(options))
    if options.json not in (None, "-"):
        refuse_place(options.json)
    host = open_host(None)
    if (code := refuse_changed(host, says_aside(options.quiet))) is not None:
        return code
    facts = read_facts(host)
    want, certain, why = choose_profile(DoctorOptions(profile=options.profile), facts)
    name_slots(facts, want)
    with _stoppable() as stopping, _progress(options) as seen:
        runtime = find_devices(wanted.backend, stopping=stopping.is_set)
        if stopping.is_set():
            print("interrupted before anything was run", file=sys.stderr)
            return 128 + stopping.number
        if not runtime.gpus and any(STRESSES[name].scope != "host" for name in modules):
            from boxcheck.commands.no_device import no_device

            return no_device(runtime, facts, options)
        try:
            idle = without_work(
                modules, pick(runtime.gpus, wanted.gpus, slots_of(runtime.gpus, facts)), wanted.options, host,
            ) if options.modules == ("all",) else {}
            wanted = msgspec.structs.replace(wanted, modules=tuple(name for name in modules if name not in idle))
            with whole_box():
                found = run_stress(wanted, runtime, facts, want, stopping=stopping.is_set, seen=seen)
        except LookupError as error:
            shown = ", ".join(f"{number} = {info.key}" for number, info in enumerate(runtime.gpus))
            raise UsageError(f"no device is called {error.args[0]!r}", f"there are {shown}") from None
    found = msgspec.structs.replace(found, profile_why=why, profile_certain=certain, without_work=idle)
    if options.strict:
        found = msgspec.structs.replace(found, verdict=strictly(found.verdict))
    written = _write(found, options)
    code = exit_code(found.verdict, strict=options.strict)
    if stopping.is_set() and code in (ExitCode.PASSED, ExitCode.INCOMPLETE):
        print("interrupted; what was measured until then stands above", file=sys.stderr)
        return 128 + stopping.number
    if not written and code is ExitCode.PASSED:  # whoever reads the file has no account of it
        return int(ExitCode.INCOMPLETE)
    return int(code)


def _write(found: Any, options: Options) -> bool:
    """Whether the JSON that was asked for was written."""
    from boxcheck.report import style_for
    from boxcheck.report.command import runnable_verdict
    from boxcheck.report.stress import stress_json, stress_text

    stream = sys.stderr if options.json == "-" else sys.stdout
    if options.json != "-" or stream.isatty() or options.verbose:
        shown = msgspec.structs.replace(found, verdict=runnable_verdict(found.verdict))
        stream.write(stress_text(shown, style_for(options, stream), __version__))
        stream.flush()
    written = True
    if options.json:
        try:
            write_output(options.json, stress_json(found, __version__))
        except UsageError as error:  # what was found stands above, and its exit code counts where it is no pass
            print(f"error: {error}", file=sys.stderr)
            written = False
    for crash in found.verdict.crashes:
        sys.stderr.write(f"boxcheck itself broke in {crash.where}; --json holds the traceback; please report it\n")
    return written


def _modules(names: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    if names == ("all",):
        asked = [word.partition("=")[0] for word in given]
        return tuple(name for name in sorted(STRESSES) if is_asked(name, asked))
    for name in names:
        if name not in STRESSES:
            raise UsageError(
                f"no stress module is called {name!r}", nearest(name, STRESSES) or "boxcheck stress list names them")
    if not names:
        raise UsageError("say which module to run", f"one or more of {', '.join(sorted(STRESSES))}, or all")
    return tuple(dict.fromkeys(names))


def backend_named(name: str | None) -> Backend | None:
    for known in BACKENDS:
        if name == known:
            return known
    if name is not None:
        raise UsageError(f"no backend is called {name!r}", f"choose one of {', '.join(BACKENDS)}")
    return None


def _options(words: tuple[str, ...], modules: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {word}: is no KEY=VALUE", "as in --option size=test")
        found[name] = value
        wrong = wrong_option(modules, name, value)
        if wrong is not None:
            raise UsageError(*wrong)
    if "kernel" in found:
        _refuse_kernel(found["kernel"])
    return found


def _refuse_kernel(name: str) -> None:
    """UsageError for a name that no matrix kernel has."""
    from boxcheck.stress.kernel_choice import kernel_names

    names = kernel_names()
    if name not in names:
        raise UsageError(
            f"no kernel is called {name!r}", nearest(name, names) or "boxcheck stress list names them")


def _fault(options: Options) -> str | None:
    if options.inject is None:
        return None
    if options.inject not in FAULTS:
        raise UsageError(
            f"no fault is called {options.inject!r}", nearest(options.inject, FAULTS) or ", ".join(FAULTS))
    names = STRESSES if options.modules == ("all",) else options.modules
    for name in names:
        if name in STRESSES and options.inject not in STRESSES[name].faults:
            raise UsageError(
                f"{name} has no fault {options.inject!r}", f"it has {', '.join(STRESSES[name].faults)}")
    return options.inject


class _Stop(threading.Event):
    number = 2


@contextmanager
def _stoppable() -> Iterator[_Stop]:
    """The first Ctrl-C or SIGTERM asks the workers to come to an end; the second ends everything at once."""
    stop = _Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.number = number
        stop.set()
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(options: Options) -> Iterator[Any]:
    """What is being done, on standard error: one line that changes on a terminal, a line a module elsewhere."""
    from boxcheck.engine.messages import Beat
    from boxcheck.engine.supervise import Told

    live = sys.stderr.isatty() and not options.quiet
    last: dict[str, str] = {}
    module_shown, drawn = "", 0.0

    def seen(module: str, gpus: tuple[GpuInfo, ...], what: Told) -> None:
        nonlocal module_shown, drawn
        if options.quiet:
            return
        if module != module_shown:
            module_shown = module
            last.clear()
            if not live:
                print(f"stress {module} ...", file=sys.stderr, flush=True)
        if not live or not isinstance(what, Beat):
            return
        last[gpus[0].key] = f"{gpus[0].key} {what.text} {100 * what.done:3.0f} %"
        now = time.monotonic()
        if now - drawn > 0.2:
            drawn = now
            line = f"{module}  {'   '.join(last.values())}"
            sys.stderr.write(f"\r{line[:118]}\x1b[K")
            sys.stderr.flush()

    try:
        yield seen
    finally:
        if live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
