"""Judgements on main memory under load: every word right, no page lost, as fast as the profile asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boxcheck.checks.wording import broken_bound, judged, size
from boxcheck.model import Finding, Outcome, Quantity, Subject, Unread
from boxcheck.probes.memory import Memory
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, outcome_of, passed, skipped, unknown
from boxcheck.stress import Sample, StressResults
from boxcheck.stress.judging import SHOWN, in_words, many, middle, subject_of

TRIAD = limit(
    "dram.triad_gbs", float, "ge", "GB/s",
    "Rate of a = b + s c over all NUMA nodes together, counted as STREAM does (24 bytes a word).", low=1, high=100_000)
LEAST_BUSY_PERCENT = 80.0
"""Of the time the cores must have been the test's own, for a rate below the limit to be the memory's."""
FAMILIES = ("address", "retention", "inversion", "random")
STREAMS = ("triad", "copy")
AGAIN = (
    "run it once more: boxcheck stress run dram --seconds 300; a bad cell is wrong again at the same physical address")
LOG = "sudo dmesg | grep -i -E 'mce|hardware error|edac|memory failure'  names page and module"
MODULES = (
    AGAIN,
    "take the BIOS's memory profile (XMP, EXPO) and overclocking back to the standard speed, and repeat",
    "boxcheck doctor memory (ends in PARTIAL) says what ECC and EDAC counted, and on which module",
    "without ECC: test the modules one by one, or half of them at a time",
)


def _kind(sample: Sample) -> str:
    """`dram.address.node0` is `address`."""
    return sample.what.split(".")[1]


def _of(results: StressResults, key: str, kinds: Sequence[str]) -> list[Sample]:
    return [one for one in results.samples if one.gpu == key and one.what.startswith("dram.") and _kind(one) in kinds]


def node_subject(node: object) -> Subject:
    return Subject("memory", f"memory of NUMA node {node}")


def _cause(node: object) -> str:
    return f"memory-node:{node}"


@check("dram.wrong-words", reads=[StressResults], stress="dram")
def wrong_words(results: StressResults, want: Profile) -> Iterator[Finding]:
    """Main memory did not hold what was written to it.

    Why it matters: whatever lies in such a place is silently wrong: files in the page cache, weights on their way to a
    GPU, the kernel itself. Without ECC nobody else notices.
    What to do: back to the standard speed of the modules; then find the module: by EDAC, or by testing half of them at
    a time.
    Not a fault: memory that was not taken is not judged; the notes say how much was. A wrong word's address names a
    page, not a module: addresses are interleaved over channels. What ECC corrected was right when it was read.
    By hand: boxcheck stress run dram --seconds 300
    """
    for info in results.gpus:
        compared = _of(results, info.key, (*FAMILIES, *STREAMS))
        bad: dict[object, list[Sample]] = {}
        for one in compared:
            if one.wrong:
                bad.setdefault(one.notes["node"], []).append(one)
        for node, mine in bad.items():
            words = [word for one in mine for word in one.words]
            wrong, kinds = sum(one.wrong for one in mine), ", ".join(dict.fromkeys(_kind(one) for one in mine))
            looks = ", ".join(dict.fromkeys(word.kind.partition(" for ")[0] for word in words if word.kind))
            says = f"{many(wrong, 'word')} wrong in {many(len(mine), 'comparison')} ({kinds})"
            yield failed(
                node_subject(node), f"{says}: {looks}" if looks else says,
                measured=Quantity(wrong, "wrong words"), notes=tuple(in_words(word) for word in words[:SHOWN]),
                help=MODULES, cause=_cause(node), title=f"memory of NUMA node {node}: wrong words",
                where=f"NUMA node {node}")
        if not bad:
            yield _right(subject_of(results, info.key), compared)


def _right(subject: Subject, compared: Sequence[Sample]) -> Finding:
    patterns = [one for one in compared if _kind(one) in FAMILIES]
    checked = sum(one.checked for one in compared)
    if not patterns or not sum(one.checked for one in patterns):
        return unknown(subject, "no pattern was compared")
    notes = patterns[-1].notes
    each = [one.notes.get("swapped_kib", 0) for one in patterns]
    if (why := next((one for one in each if isinstance(one, str)), None)) is not None:
        return unknown(subject, f"not read: whether what was under test lay in swap ({why})")
    swapped = max(int(one) for one in each)
    if swapped:
        return unknown(
            subject, f"{size(swapped << 10)} of what was under test lay in swap, and that is no memory", help=(
                "end other programs, or run it as root, which may lock its memory", AGAIN))
    done = [family for family in FAMILIES if any(_kind(one) == family for one in patterns)]
    told = [f"patterns: {', '.join(done)}"]
    if "held_bytes" in notes:
        part = f"{size(float(notes['held_bytes']))} were tested, {notes['held_percent']} % of what was available"
        told.append(f"{part}; bounded by: {notes['bounded_by']}")
    if "nodes_without_cores" in notes:
        told.append(f"nodes of memory alone were left out: {notes['nodes_without_cores']}")
    says = f"{many(checked, 'word')} compared, none wrong"
    return passed(subject, says, measured=Quantity(0, "wrong words"), notes=tuple(told))


@check("dram.page-lost", reads=[StressResults], stress="dram")
def page_lost(results: StressResults, want: Profile) -> Iterator[Finding]:
    """A process was killed by an error of the memory that it tested, or stood still.

    Why it matters: SIGBUS is what the kernel sends when a page holds an error that ECC found and could not correct; the
    same page in a database or in the kernel ends that.
    What to do: the kernel log names page and module (EDAC, machine check); replace the module.
    Not a fault: a process that was killed for lack of memory (SIGKILL), or that could not be pinned; these are unknown.
    By hand: sudo dmesg | grep -i -E 'mce|hardware error|edac|memory failure'
    """
    for info in results.gpus:
        subject = subject_of(results, info.key)
        told = [one for one in results.samples if one.gpu == info.key and one.what == "dram.processes"]
        whole = next((one for one in told if "all" in one.notes), None)
        if whole is None:
            yield unknown(subject, "no process was followed to its end")
            continue
        bad = [one for one in told if one.wrong]
        ended = [one for one in told if not one.checked and "says" in one.notes]
        for one in bad:
            node = one.notes["node"]
            yield failed(
                node_subject(node), f"core {one.notes['core']}: {one.notes['says']}", help=(LOG, *MODULES),
                measured=Quantity(1, "processes lost"), cause=_cause(node), where=f"NUMA node {node}",
                title=f"memory of NUMA node {node}: a page was lost")
        if ended:
            says = f"core {ended[0].notes['core']}: {ended[0].notes['says']}"
            yield unknown(
                subject, f"{len(ended)} of {whole.notes['all']} processes did not come to the end; {says}",
                help=(str(ended[0].notes["help"]),) if "help" in ended[0].notes else ())
        elif not bad:
            yield passed(
                subject, f"{many(whole.checked, 'core')} came to the end", measured=Quantity(0, "processes lost"))


@check("dram.triad", reads=[StressResults, Memory], limits=[TRIAD], stress="dram")
def triad(results: StressResults, memory: Memory, want: Profile) -> Iterator[Finding]:
    """Main memory is slower than the profile asks.

    Why it matters: two modules in eight channels give a quarter of the bandwidth, and a slow memory clock its part; the
    host then cannot feed its GPUs, and copies from pageable memory crawl.
    What to do: boxcheck doctor memory (ends in PARTIAL) says whether all channels are filled, and their speed. Then the
    BIOS: memory profile, NPS, power-saving of the fabric (DF C-states, APBDIS).
    Not a fault: 55 to 85 % of what the channels could move (channels x MT/s x 8 bytes) is what memory reaches; EPYC
    models with half the bandwidth exist (cpu.half-bandwidth-sku); other programs that use the memory meanwhile.
    By hand: boxcheck stress run dram --seconds 60; sudo dmidecode -t 17 | grep -E 'Locator|Speed'
    """
    bound = want.limit(TRIAD)
    for info in results.gpus:
        subject = subject_of(results, info.key)
        timed = _of(results, info.key, ("triad",))
        nodes = best_by_node(timed)
        value = sum(nodes.values())
        if not results.full_size:
            yield skipped(subject, "small sizes, which the caches hold; their rate is not judged")
        elif not nodes:
            yield unknown(subject, "no rate with right results")
        else:
            each = ", ".join(f"node {node}: {one:.1f}" for node, one in nodes.items())
            parts = f" ({each})" if len(nodes) > 1 else ""
            says = f"triad {value:.1f} GB/s{parts}, {_of_theory(value, memory)}"
            busy = middle([float(one.notes.get("busy_percent", 100.0)) for one in timed])
            spared = timed[-1].notes.get("spared_cores")
            if bound is None:
                yield skipped(subject, f"the profile sets no {TRIAD}; {says}")
            elif outcome_of(value, bound) is not Outcome.PASS and spared:
                yield skipped(
                    subject, f"not judged beside GPUs, to which {spared} cores were left; {says}, "
                    f"{broken_bound(value, bound)}")
            elif outcome_of(value, bound) is not Outcome.PASS and busy < LEAST_BUSY_PERCENT:
                taken = f"other programs took {100 - busy:.0f} % of the cores' time"
                yield unknown(
                    subject, f"{says}, {broken_bound(value, bound)}; {taken}", measured=Quantity(value, bound.unit),
                    limit=bound, help=("stop what else runs, and repeat",))
            else:
                yield judged(
                    subject, value, bound, f"{says}, {broken_bound(value, bound)}", cause="memory-slow:",
                    title="main memory is slow", help=(
                        "boxcheck doctor memory (ends in PARTIAL) says which channels are filled, at what speed",
                        "stop what else runs, and repeat", "BIOS setup: memory profile, NPS, DF C-states"))


def best_by_node(samples: Sequence[Sample]) -> Mapping[object, float]:
    """Of the piece in which all nodes together were fastest, the rate of each. Pieces with a wrong word, or that not
    every node did, are left out."""
    pieces: dict[object, dict[object, float]] = {}
    spoiled = {one.notes["piece"] for one in samples if one.wrong or one.value is None}
    for one in samples:
        if one.notes["piece"] not in spoiled and one.value is not None and one.checked:
            pieces.setdefault(one.notes["piece"], {})[one.notes["node"]] = one.value
    nodes = {one.notes["node"] for one in samples}
    whole = [rates for rates in pieces.values() if {*rates} == nodes]
    return max(whole, key=lambda rates: sum(rates.values()), default={})


def _of_theory(value: float, memory: Memory) -> str:
    """What part that is of channels x MT/s x bytes."""
    if isinstance(memory.theoretical_gbs, Unread):
        return f"what the channels could move is not known ({memory.theoretical_gbs.why})"
    filled = 0 if isinstance(memory.channels, Unread) else sum(one.populated is True for one in memory.channels)
    percent = 100 * value / memory.theoretical_gbs
    return f"{percent:.0f} % of the {memory.theoretical_gbs:g} GB/s of {many(filled, 'channel')}"
