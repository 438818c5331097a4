"""Judgements on errors of main memory: whether it corrects them, and what was counted.

Zero errors mean something only where something counts: EDAC's driver of the memory controller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from boxcheck.checks.memory import TABLES, dimm_cause
from boxcheck.checks.wording import counted, decided, duration, not_read, wants, wish_of
from boxcheck.model import BOX, Finding, Limit, Outcome, Quantity, Subject, Unread
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.memory import EdacController, EdacModule, Memory
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, limit, marginal, passed, skipped

ECC = limit("memory.ecc", bool, "eq", "", "Whether main memory must correct errors, and something must count them.")

EDAC = "/sys/devices/system/edac/mc"
LOAD_DRIVER = (
    "sudo modprobe amd64_edac (AMD), or the *_edac module of the Intel processor; name it in /etc/modules-load.d/"
)

EDAC_CHANNELS: Mapping[str, str] = {"ROMED8-2T": "ABCDGHEF", "ROMED8-2T/BCM": "ABCDGHEF"}
"""Board -> letter of each EDAC channel, 0 first (rasdaemon's label file labels/asrock; the BCM variant is the same
board with another network chip). EDAC numbers the channels of the processor, the board prints letters."""


def _says_no(outcome_limit: Limit) -> Outcome:
    """What an unmet `eq true` limit comes to."""
    return Outcome.FAIL if outcome_limit.must is not None else Outcome.MARGINAL


@check("memory.ecc", reads=[Memory], limits=[ECC])
def ecc(memory: Memory, want: Profile) -> Iterator[Finding]:
    """Memory does not correct errors, or nothing counts the corrections.

    Why it matters: without ECC a flipped bit goes into weights and checkpoints and nobody sees it. With ECC but without
    an EDAC driver a dying module shows itself only when it is too late.
    What to do: fit ECC modules and enable ECC in the BIOS; load the EDAC driver of the memory controller.
    Not a fault: on boxes that have no ECC by design, such as Strix Halo; their profile does not ask for it.
    By hand: sudo dmidecode -t 16 | grep Correction; ls /sys/devices/system/edac/mc
    """
    bound = want.limit(ECC)
    if bound is None or wish_of(bound) is False:
        yield skipped(BOX, f"the profile sets no {ECC}")
        return
    controllers = () if isinstance(memory.edac, Unread) else memory.edac
    evidence = (TABLES, EDAC)
    bare = [] if isinstance(memory.modules, Unread) else [
        module for module in memory.modules if module.installed is True and module.check_bits == 0]
    modes = _modes(controllers)
    if modes and all(mode == "None" for mode in modes):
        yield decided(
            _says_no(bound), BOX, f"EDAC says of {_of_all(modes, controllers)} ranks that nothing corrects them "
            f"(dimm_edac_mode None), {wants(bound)} ECC", measured=Quantity(False), limit=bound, evidence=(EDAC,),
            cause="memory-ecc:", title="memory has no ECC", help=("BIOS setup: ECC on",))
        return
    if any(one.of_hardware for one in controllers) and (memory.ecc is False or bare):
        said = "the firmware says that memory has no error correction" if memory.ecc is False else (
            f"{len(bare)} modules have no check bits, {bare[0].label} first")
        yield not_read(BOX, Unread(
            f"two readings contradict each other: {said}, and {controllers[0].driver} counts errors of it",
            "malformed"), evidence=evidence, help=(
                "sudo dmidecode -t 16,17 shows what the firmware says; a BIOS update may mend its table",))
        return
    if any(one.of_hardware for one in controllers) or (controllers and memory.ecc is True and not bare):
        # amd64_edac and the Intel drivers refuse to load where ECC is off, so such a controller proves that it is on.
        yield passed(
            BOX, f"ECC is on, EDAC counts errors of {counted(len(controllers), 'memory controller')}",
            measured=Quantity(True), limit=bound, evidence=evidence)
        return
    if memory.ecc is False or bare:
        why = "the firmware says that memory has no error correction" if memory.ecc is False else (
            f"{len(bare)} modules have no check bits, {bare[0].label} first")
        yield decided(
            _says_no(bound), BOX, f"{why}, {wants(bound)} ECC", measured=Quantity(False), limit=bound,
            evidence=evidence, cause="memory-ecc:", title="memory has no ECC",
            help=("sudo dmidecode -t 17: modules with ECC show a Total Width of 72 or 80", "BIOS setup: ECC on"))
    elif isinstance(memory.ecc, Unread):
        yield not_read(BOX, memory.ecc, evidence=evidence)
    elif isinstance(memory.edac, Unread):
        yield not_read(BOX, memory.edac, evidence=evidence)
    elif controllers:  # of no hardware driver, and the firmware says neither yes nor no
        yield not_read(BOX, Unread(f"{controllers[0].driver or 'an unnamed EDAC driver'} does not prove ECC",
                                   "unsupported"), evidence=evidence, help=(LOAD_DRIVER,))
    else:
        yield marginal(
            BOX, f"memory has {memory.error_correction}, but no EDAC driver is loaded, so nothing counts errors",
            measured=Quantity(True), limit=bound, evidence=evidence, cause="edac-missing:",
            title="nothing counts memory errors", help=(LOAD_DRIVER,))


EDAC_MODES = frozenset({
    "None", "Reserved", "PARITY", "EC", "SECDED", "S2ECD2ED", "S4ECD4ED", "S8ECD8ED", "S16ECD16ED"})
"""What the kernel says that corrects a rank (drivers/edac/edac_mc_sysfs.c), without the `Unknown` that says nothing."""


def _modes(controllers: Sequence[EdacController]) -> list[str]:
    """What corrects each rank that says so. One that was not read says nothing for the others."""
    return [module.mode for one in controllers for module in one.modules if module.mode in EDAC_MODES]


def _of_all(modes: Sequence[str], controllers: Sequence[EdacController]) -> str:
    ranks = sum(len(one.modules) for one in controllers)
    return f"all {ranks}" if len(modes) == ranks else f"{len(modes)} of {ranks}"


def _of_firmware(controller: EdacController) -> bool:
    """Whether it only passes on what the firmware reports: ghes_edac loads with ECC or without. A driver that cannot
    be told is taken for it."""
    return controller.driver is None or controller.driver.startswith("ghes")


def _nobody_counts(memory: Memory, want: Profile) -> Finding | None:
    """The finding where there is no counter at all, None where there is one."""
    if isinstance(memory.edac, Unread):
        return not_read(BOX, memory.edac, evidence=(EDAC,))
    counted = any(isinstance(number, int) and number > 0 for one in memory.edac
                  for number in (one.corrected, one.uncorrected))
    modes = _modes(memory.edac)
    bare = bool(modes) and all(mode == "None" for mode in modes)
    if memory.edac and counted:
        return None
    proven = memory.ecc is True or any(one.of_hardware for one in memory.edac) or (
        memory.ecc is not False and not all(map(_of_firmware, memory.edac)))
    if memory.edac and not bare and proven:
        return None
    if memory.edac and not bare and isinstance(memory.ecc, Unread):
        return not_read(BOX, Unread(
            f"{memory.edac[0].driver or 'an unnamed EDAC driver'} counts 0, and whether memory has ECC that could "
            f"count: {memory.ecc.why}", memory.ecc.kind), evidence=(EDAC, TABLES))
    bound = want.limit(ECC)
    demanded = bound is not None and wish_of(bound) is True
    if memory.edac and demanded:
        return not_read(BOX, Unread(
            f"{memory.edac[0].driver or 'an unnamed EDAC driver'} counts nothing of memory without ECC",
            "unsupported"), evidence=(EDAC,), help=(LOAD_DRIVER,))
    if memory.edac:
        return skipped(BOX, "memory has no ECC that could count, and the profile does not ask for it")
    if memory.ecc is True or demanded:
        return not_read(
            BOX, Unread("no EDAC driver of a memory controller is loaded, so nothing counts errors", "unsupported"),
            evidence=(EDAC,), help=(LOAD_DRIVER,))
    return skipped(BOX, "no EDAC driver is loaded, and the profile does not ask for ECC")


def _socket(module: EdacModule, memory: Memory, board: str | None) -> str:
    """The socket as printed on the board where board and locators tell, else EDAC's own label."""
    parts = (module.location or "").split()
    number = parts[parts.index("channel") + 1] if "channel" in parts[:-1] else ""
    letters = EDAC_CHANNELS.get(board or "", "")
    if not module.label.startswith("mc#") or not number.isdecimal() or len(number) > 3 or int(number) >= len(letters):
        return module.label
    letter = letters[int(number)]
    for channel in () if isinstance(memory.channels, Unread) else memory.channels:
        sockets = [socket for socket in channel.modules if socket.installed is True]
        if channel.name == letter and len(sockets) == 1:
            return sockets[0].label
    return f"{letter}1"


def _by_socket(
    controller: EdacController, memory: Memory, board: str | None, uncorrected: bool
) -> dict[str, tuple[EdacModule, int]]:
    """Socket -> first rank with errors, and the errors of all ranks in it."""
    found: dict[str, tuple[EdacModule, int]] = {}
    for module in controller.modules:
        count = module.uncorrected if uncorrected else module.corrected
        if isinstance(count, int) and count > 0:
            socket = _socket(module, memory, board)
            first, before = found.get(socket, (module, 0))
            found[socket] = (first, before + count)
    return found


def _since(controller: EdacController) -> str:
    return "" if isinstance(controller.seconds, Unread) else f" in {duration(controller.seconds)}"


def _errors(memory: Memory, dmi: Dmi, want: Profile, uncorrected: bool) -> Iterator[Finding]:
    nobody = _nobody_counts(memory, want)
    if nobody is not None:
        yield nobody
        return
    make = failed if uncorrected else marginal
    word = "uncorrected" if uncorrected else "corrected"
    board = dmi.board_name if isinstance(dmi.board_name, str) else None
    errors = 0
    unread: Unread | None = None
    controllers = memory.edac if isinstance(memory.edac, tuple) else ()
    for controller in controllers:
        total = controller.uncorrected if uncorrected else controller.corrected
        if isinstance(total, Unread):
            unread = total
            continue
        unplaced = controller.uncorrected_unplaced if uncorrected else controller.corrected_unplaced
        placed = _by_socket(controller, memory, board, uncorrected)
        for label, (module, count) in placed.items():
            yield make(
                Subject("dimm", label),
                f"{counted(count, f'{word} error')} at {module.location or module.name}{_since(controller)}, limit 0",
                measured=Quantity(count, "errors"), evidence=(f"{EDAC}/{controller.name}/{module.name}",),
                cause=dimm_cause(label), title=f"memory module {label} makes errors", help=_help(label, uncorrected))
        rest = total - sum(count for _, count in placed.values())
        if isinstance(unplaced, int):  # the kernel counts them in both; the larger number is the one not to miss
            rest = max(rest, unplaced)
        elif unplaced.kind != "absent":
            unread = unplaced
        if rest > 0:
            yield make(
                Subject("memory", controller.name),
                f"{rest} {word} errors that name no module{_since(controller)}, limit 0",
                measured=Quantity(rest, "errors"), cause=f"memory-errors:{controller.name}",
                evidence=(f"{EDAC}/{controller.name}/{'ue' if uncorrected else 'ce'}_count",),
                title=f"memory controller {controller.name} counts {word} errors", help=_help(None, uncorrected))
        errors += max(total, rest, len(placed))
    if unread is not None:
        yield not_read(BOX, unread, evidence=(EDAC,))
    elif not errors:
        yield passed(
            BOX, f"0 {word} errors{_since(controllers[0])}", measured=Quantity(0, "errors"), evidence=(EDAC,))


def _help(label: str | None, uncorrected: bool) -> tuple[str, ...]:
    first = f"swap the module of {label} with another and see whether the errors move with it"
    if label is None:
        first = "ras-mc-ctl --errors and the kernel log name the module where the firmware tells it"
    if uncorrected:
        return (first, "replace the module that has them; data in use when they happened is not to be trusted")
    return (first, "a few errors a year are normal; when they grow by more than 50 a day, replace the module")


@check("memory.edac-ue", reads=[Memory, Dmi], limits=[ECC])
def edac_ue(memory: Memory, dmi: Dmi, want: Profile) -> Iterator[Finding]:
    """Memory had errors that could not be corrected.

    Why it matters: data was lost. The kernel kills what used the page, or stops; results of that time are void.
    What to do: move the named module to another socket; where the errors follow it, replace it; where they stay, look
    at the socket and the processor's seating.
    Not a fault: of the GPUs' own memory, which counts elsewhere.
    By hand: grep . /sys/devices/system/edac/mc/mc*/ue_count; ras-mc-ctl --error-count
    """
    yield from _errors(memory, dmi, want, uncorrected=True)


@check("memory.edac-ce", reads=[Memory, Dmi], limits=[ECC])
def edac_ce(memory: Memory, dmi: Dmi, want: Profile) -> Iterator[Finding]:
    """Memory had errors that were corrected.

    Why it matters: single ones happen; the same module again and again is about to fail, and corrections cost time.
    What to do: watch the rate. Above 50 a day (rasdaemon's default) on one module, replace it.
    Not a fault: a handful over months, spread over modules.
    By hand: grep . /sys/devices/system/edac/mc/mc*/dimm*/dimm_ce_count
    """
    yield from _errors(memory, dmi, want, uncorrected=False)
