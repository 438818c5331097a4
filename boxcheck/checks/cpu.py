"""Judgements on the processors."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from boxcheck.checks.wording import broken_bound, decided, demand, judged, listed, not_read, wish_of
from boxcheck.model import Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.profile import Profile
from boxcheck.registry import check, limit, marginal, passed, skipped

MODEL = limit(
    "cpu.model", str, "in", "", "Model names of /proc/cpuinfo that this box may have; `*` stands for anything.",
)
CORES = limit("cpu.cores", int, "ge", "cores", "Physical cores online, over all sockets.", low=1, high=4096)
SOCKETS = limit("cpu.sockets", int, "eq", "sockets", "Processors in the box.", low=1, high=64)
GOVERNOR = limit("cpu.governor", str, "in", "", "Frequency governors that may be set.")
NUMA_BALANCING = limit(
    "cpu.numa_balancing", int, "eq", "", "/proc/sys/kernel/numa_balancing on a box with several NUMA nodes.",
    low=0, high=3,
)

BOX_CPU = Subject("cpu", "CPU")
CPUINFO = ("/proc/cpuinfo",)

HALF_BANDWIDTH_MODELS = ("7232P", "7252", "7272", "7282")
"""EPYC 7002 models with four of the eight memory channels' worth of fabric: about 85 GB/s however many DIMMs there are
(ServeTheHome, "AMD EPYC 7002 ... half memory bandwidth" models)."""


def matches(model: str, limit: Limit) -> Outcome:
    """Outcome of a model name against lists of globs; case does not matter."""

    def among(globs: object) -> bool:
        names = [globs] if isinstance(globs, str) else globs if isinstance(globs, (list, tuple)) else []
        return any(fnmatchcase(model.lower(), str(glob).lower()) for glob in names)

    if limit.must is not None and not among(limit.must):
        return Outcome.FAIL
    if limit.should is not None and not among(limit.should):
        return Outcome.MARGINAL
    return Outcome.PASS


@check("cpu.model", reads=[Cpu], limits=[MODEL])
def model(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The processor is not the one that this box has.

    Why it matters: cores, memory channels and PCIe lanes come with the model; limits of the profile assume them.
    What to do: compare the name with the invoice; where the swap was intended, use or draft a profile that has it.
    Not a fault: an engineering sample reports its part number (`AMD Eng Sample: 100-000000314-04`); profiles list it.
    By hand: grep -m1 'model name' /proc/cpuinfo
    """
    bound = want.limit(MODEL)
    if bound is None:
        yield skipped(BOX_CPU, f"the profile sets no {MODEL}")
    elif isinstance(cpu.model, Unread):
        yield not_read(BOX_CPU, cpu.model, evidence=CPUINFO)
    elif cpu.model is None:
        yield not_read(BOX_CPU, Unread("the kernel names no processor model", "unsupported"), evidence=CPUINFO)
    else:
        outcome = matches(cpu.model, bound)
        says = cpu.model if outcome is Outcome.PASS else f"{cpu.model}, {demand(outcome, bound)}"
        yield decided(
            outcome, BOX_CPU, says, measured=Quantity(cpu.model), limit=bound, evidence=CPUINFO, cause="cpu-model:",
            title=f"the processor is {cpu.model}",
            help=("compare the processor's name with the invoice; for an intended swap choose another profile",),
        )


def _firmware_cores(dmi: Dmi) -> tuple[int, int] | None:
    """Cores that the processors have and that the firmware enabled, over all sockets; None when it does not say."""
    if isinstance(dmi.processors, Unread):
        return None
    total = enabled = 0
    for processor in dmi.processors:
        if processor.populated is not True:
            continue
        if isinstance(processor.cores, Unread) or isinstance(processor.cores_enabled, Unread):
            return None
        total += processor.cores
        enabled += processor.cores_enabled
    return (total, enabled) if total else None


@check("cpu.cores", reads=[Cpu, Dmi], limits=[CORES])
def cores(cpu: Cpu, dmi: Dmi, want: Profile) -> Iterator[Finding]:
    """Fewer processor cores are at work than the box has.

    Why it matters: data loading, tokenising and the GPUs' interrupts run on these cores; on a 7-GPU box an 8-core
    processor made training a quarter slower.
    What to do: look for a core limit in the BIOS (CCD control, downcore), for `maxcpus=` or `nosmt` on the kernel
    command line, and for cores that somebody switched off; a wrong processor shows in cpu.model.
    Not a fault: fewer logical processors because SMT is off; cores are counted, not threads.
    By hand: lscpu | grep -E 'Socket|Core|On-line'
    """
    bound = want.limit(CORES)
    if bound is None:
        yield skipped(BOX_CPU, f"the profile sets no {CORES}")
        return
    if isinstance(cpu.cores, Unread):
        yield not_read(BOX_CPU, cpu.cores, evidence=CPUINFO)
        return
    firmware = _firmware_cores(dmi)
    notes: tuple[str, ...] = ()
    if firmware is not None and firmware[1] < firmware[0]:
        notes = (f"the firmware enabled {firmware[1]} of {firmware[0]} cores: look for a core limit in the BIOS",)
    yield judged(
        BOX_CPU, cpu.cores, bound, f"{cpu.cores} cores online, {broken_bound(cpu.cores, bound)}", notes=notes,
        evidence=CPUINFO, cause="cpu-cores:",
        help=("look for a core limit in the BIOS (CCD control, downcore) and for maxcpus= in /proc/cmdline",),
    )


@check("cpu.sockets", reads=[Cpu], limits=[SOCKETS])
def sockets(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The box runs on another number of processors than it has.

    Why it matters: the PCIe slots and memory channels of a processor that did not start are gone with it.
    What to do: read the BMC's event log, reseat the processor; compare which slots and DIMMs are missing.
    Not a fault: NUMA nodes inside one processor (NPS2, NPS4) are no sockets.
    By hand: lscpu | grep Socket
    """
    bound = want.limit(SOCKETS)
    if bound is None:
        yield skipped(BOX_CPU, f"the profile sets no {SOCKETS}")
    elif isinstance(cpu.sockets, Unread):
        yield not_read(BOX_CPU, cpu.sockets, evidence=CPUINFO)
    else:
        yield judged(
            BOX_CPU, cpu.sockets, bound,
            f"{cpu.sockets} {'socket' if cpu.sockets == 1 else 'sockets'}, {broken_bound(cpu.sockets, bound)}",
            evidence=CPUINFO, cause="cpu-sockets:", title=f"processors at work: {cpu.sockets} of {wish_of(bound)}",
            help=("read the BMC's event log, then reseat the processor that is missing",),
        )


@check("cpu.governor", reads=[Cpu], limits=[GOVERNOR])
def governor(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The processor saves power where the box is meant to run at full clock.

    Why it matters: copies between host and GPU, and kernel launches, are bound by single-thread speed; figures taken
    under `powersave` do not compare.
    What to do: `sudo cpupower frequency-set -g performance`, and make it last (tuned profile, cpupower.service).
    Not a fault: under amd-pstate and intel_pstate in active mode, `powersave` with the energy preference
    `performance` runs at full clock; it passes.
    By hand: cat /sys/devices/system/cpu/cpufreq/policy*/scaling_governor | sort | uniq -c
    """
    bound = want.limit(GOVERNOR)
    evidence = ("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor",)
    if bound is None:
        yield skipped(BOX_CPU, f"the profile sets no {GOVERNOR}")
        return
    match cpu.governors:
        case Unread() as unread:
            yield not_read(BOX_CPU, unread, evidence=evidence)
            return
        case None:
            yield skipped(BOX_CPU, "the kernel does not scale this processor's frequency")
            return
        case governors:
            pass
    if set(governors) == {"powersave"} and cpu.preference == "performance":
        yield passed(
            BOX_CPU, f"governor powersave of {cpu.driver or 'the driver'} with energy preference performance",
            measured=Quantity("powersave"), limit=bound, evidence=evidence)
        return
    worst = min((_allowed(name, bound) for name in governors), key=lambda outcome: outcome.rank)
    found = listed(f"{name} on {count}" if len(governors) > 1 else name for name, count in sorted(governors.items()))
    yield decided(
        worst, BOX_CPU, f"governor {found}, {demand(worst, bound)}", measured=Quantity(found),
        limit=bound, evidence=evidence, cause="cpu-governor:", help=("sudo cpupower frequency-set -g performance",),
    )


def _allowed(name: str, bound: Limit) -> Outcome:
    if bound.must is not None and name not in bound.must:
        return Outcome.FAIL
    return Outcome.MARGINAL if bound.should is not None and name not in bound.should else Outcome.PASS


LEAST_SHARE = 0.5
"""Of what the processor can do. Boost switched off leaves 0.65 or more of it on the processors of these boxes."""


@check("cpu.frequency-cap", reads=[Cpu], limits=[])
def frequency_cap(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The processor may not run at half of its clock, whatever the governor is.

    Why it matters: a limit that a tool left behind (scaling_max_freq) holds under the
    governor performance too; copies and kernel launches then take several times as long.
    What to do: raise it to what the processor can do, and find who lowered it: tuned, TLP, a service.
    Not a fault: boost that is switched off; a processor that is hot, which thermal.cpu judges.
    By hand: grep . /sys/devices/system/cpu/cpufreq/policy0/{scaling,cpuinfo}_max_freq
    """
    evidence = tuple(f"/sys/devices/system/cpu/cpufreq/policy0/{name}_max_freq" for name in ("scaling", "cpuinfo"))
    if want.limit(GOVERNOR) is None:
        yield skipped(BOX_CPU, f"the profile sets no {GOVERNOR}")
        return
    match cpu.capped_khz:
        case Unread() as unread:
            yield not_read(BOX_CPU, unread, evidence=evidence)
        case None:
            yield skipped(BOX_CPU, "the kernel does not scale this processor's frequency")
        case allowed, able:
            says = f"may run at {allowed // 1000} of {able // 1000} MHz"
            if allowed >= able * LEAST_SHARE:
                yield passed(BOX_CPU, says, measured=Quantity(allowed // 1000, "MHz"), evidence=evidence)
            else:
                yield marginal(
                    BOX_CPU, f"{says}, at least {LEAST_SHARE:.0%} expected", measured=Quantity(allowed // 1000, "MHz"),
                    evidence=evidence, cause="cpu-frequency:", title=f"the processor is held at {allowed // 1000} MHz",
                    help=(f"sudo cpupower frequency-set -u {able // 1000}MHz",
                          "find who lowers it: systemctl status tuned tlp; grep -rs max_freq /etc"))


@check("cpu.offline", reads=[Cpu])
def offline(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """Processors that are there are switched off.

    Why it matters: work pinned to them by NUMA affinity lands elsewhere; a leftover of an experiment costs throughput.
    What to do: `echo 1 > /sys/devices/system/cpu/cpuN/online` for each, or remove `maxcpus=` from the command line.
    Not a fault: SMT switched off (`nosmt`, smt/control); exactly one thread of each core is then off, which passes.
    By hand: cat /sys/devices/system/cpu/offline
    """
    evidence = ("/sys/devices/system/cpu/present", "/sys/devices/system/cpu/online")
    if isinstance(cpu.present, Unread):
        yield not_read(BOX_CPU, cpu.present, evidence=evidence)
        return
    if isinstance(cpu.offline, Unread):
        yield not_read(BOX_CPU, cpu.offline, evidence=evidence)
        return
    there, off = len(cpu.present), len(cpu.offline)
    if not there:
        yield not_read(BOX_CPU, Unread(f"{evidence[0]} names no processor", "malformed"), evidence=evidence)
    elif not off:
        yield passed(
            BOX_CPU, f"{there} of {there} logical processors online", measured=Quantity(0, "processors"),
            evidence=evidence)
    elif cpu.smt in ("off", "forceoff") and off * 2 == there:
        yield passed(BOX_CPU, f"{there - off} of {there} logical processors online: SMT is off", evidence=evidence)
    elif isinstance(cpu.smt, Unread) and off * 2 == there:
        yield not_read(BOX_CPU, Unread(f"half of {there} logical processors are off, and whether SMT is: {cpu.smt.why}",
                                       cpu.smt.kind), evidence=evidence)
    else:
        yield marginal(
            BOX_CPU, f"{there - off} of {there} logical processors online; off: {listed(cpu.offline)}",
            measured=Quantity(off, "processors"), evidence=evidence, cause="cpu-cores:",
            help=("echo 1 | sudo tee /sys/devices/system/cpu/cpuN/online for each, or remove maxcpus= from the "
                  "command line",),
        )


@check("cpu.numa-balancing", reads=[Cpu], limits=[NUMA_BALANCING])
def numa_balancing(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The kernel moves pages between NUMA nodes on its own.

    Why it matters: it unmaps pages to see who touches them; on a box with several nodes that stalls GPU work that has
    the memory pinned or mapped. AMD's tuning guides switch it off.
    What to do: `sudo sysctl kernel.numa_balancing=0`, and put it into /etc/sysctl.d/.
    Not a fault: on a box with one NUMA node it does nothing, whatever its value.
    By hand: cat /proc/sys/kernel/numa_balancing; ls -d /sys/devices/system/node/node*
    """
    bound = want.limit(NUMA_BALANCING)
    evidence = ("/proc/sys/kernel/numa_balancing", "/sys/devices/system/node")
    if bound is None:
        yield skipped(BOX_CPU, f"the profile sets no {NUMA_BALANCING}")
        return
    nodes = cpu.nodes
    if isinstance(nodes, tuple) and len(nodes) == 1:
        yield passed(BOX_CPU, "one NUMA node, so there is nothing to balance", evidence=evidence)
        return
    match cpu.numa_balancing:
        case Unread() as unread:
            yield not_read(BOX_CPU, unread, evidence=evidence)
        case None:
            yield passed(BOX_CPU, "this kernel has no NUMA balancing", evidence=evidence)
        case value if outcome_is_pass(value, bound):
            yield passed(
                BOX_CPU, f"numa_balancing is {value}", measured=Quantity(value), limit=bound, evidence=evidence)
        case value if isinstance(nodes, Unread):
            yield not_read(
                BOX_CPU, Unread(f"numa_balancing is {value}, and whether there are several NUMA nodes is not known: "
                                f"{nodes.why}", nodes.kind), evidence=evidence)
        case value:
            yield judged(
                BOX_CPU, value, bound,
                f"numa_balancing is {value} with {len(nodes)} NUMA nodes, {broken_bound(value, bound)}",
                evidence=evidence, cause="numa-balancing:",
                help=("sudo sysctl kernel.numa_balancing=0, and write it to /etc/sysctl.d/90-gpu.conf",),
            )


def outcome_is_pass(value: int, bound: Limit) -> bool:
    """Whether a value satisfies both sides of an `eq` limit."""
    return all(side is None or value == side for side in (bound.must, bound.should))


@check("cpu.half-bandwidth-sku", reads=[Cpu])
def half_bandwidth_sku(cpu: Cpu, want: Profile) -> Iterator[Finding]:
    """The processor is an EPYC 7002 model that reaches half the memory bandwidth of its siblings.

    Why it matters: EPYC 7232P, 7252, 7272 and 7282 are built for four memory channels: about 85 GB/s, whether four or
    eight DIMMs are fitted. Every figure that goes through host memory halves, and no DIMM is at fault.
    What to do: nothing is broken. For work that is bound by host memory, take an EPYC 7302 or larger.
    Not a fault: of the DIMMs, of the BIOS or of NPS settings.
    By hand: grep -m1 'model name' /proc/cpuinfo
    """
    if isinstance(cpu.model, Unread):
        yield not_read(BOX_CPU, cpu.model, evidence=CPUINFO)
        return
    if cpu.model is None and cpu.threads == 0:
        yield not_read(BOX_CPU, Unread("/proc/cpuinfo names no processor", "malformed"), evidence=CPUINFO)
        return
    name = cpu.model or ""
    if "EPYC" not in name.upper().split():
        yield skipped(BOX_CPU, "the processor is no EPYC, so it is none of the half-bandwidth models")
        return
    sku = next((word for word in name.upper().split() if word in HALF_BANDWIDTH_MODELS), None)
    if not any(character.isdecimal() for character in name):
        yield skipped(BOX_CPU, f"{name} gives no model number, as in a virtual machine")
    elif sku is None:
        yield passed(BOX_CPU, f"{name} is none of EPYC {listed(HALF_BANDWIDTH_MODELS)}", evidence=CPUINFO)
    else:
        yield marginal(
            BOX_CPU, f"EPYC {sku} reaches about 85 GB/s of memory bandwidth; eight DDR4-3200 modules offer 204.8 GB/s",
            measured=Quantity(name), evidence=CPUINFO, cause="cpu-half-bandwidth:",
            title=f"EPYC {sku} has half the memory bandwidth of its siblings",
            help=("nothing is broken; where host memory is the bottleneck, take an EPYC 7302 or larger",),
            not_=("a fault of the DIMMs",),
        )
