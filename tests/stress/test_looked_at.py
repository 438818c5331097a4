"""What nobody looked at passes nothing: links, GPUs, and rates of which one sample alone is fine; and small tests."""

from __future__ import annotations

from typing import Any

import pytest

from boxcheck.engine.modules import Wanted, run_together
from boxcheck.engine.plan import WARM_UP, plan_for, plan_from
from boxcheck.engine.supervise import list_devices
from boxcheck.engine.watch import vendor_of
from boxcheck.model import Bdf, Finding, Outcome, Unread
from boxcheck.probes.gpus import Gpus
from boxcheck.probes.links import Link, LinkEnd, Links
from boxcheck.profile import Profile, load_profile
from boxcheck.registry import STRESSES, discover, discover_stress
from boxcheck.stress import (
    Sample,
    StressResults,
    collective_ring,
    copy,
    host_cpu,
    host_memory_room,
    host_nvme,
    matmul_rate_checks,
    p2p_fabric,
    runtime,
    vram_passes,
    watched_links,
    whole_checks,
)
from boxcheck.stress import power_pulse as power_pulse_module
from boxcheck.stress.growth import Fall
from boxcheck.stress.link_routes import Hop, LinkMap
from boxcheck.stress.options import options_of
from boxcheck.stress.runtime import RuntimeGpus
from boxcheck.stress.shrinking import HOST, HOST_ELEMENTS, PART_OF_HOST, USUAL
from boxcheck.stress.tally import Watching
from tests.stress.every_check import device, results, sample, shown

discover()
discover_stress()
NONE = Profile(name="none", revision=1, title="no limits")
WOPR = load_profile("wopr-7x4090")


# Rates.


def powered(shapes: dict[str, list[float]], key: str = "cuda:0", seconds: float = 1.0) -> list[Sample]:
    return [sample("matmul.bf16.power", key, seconds=seconds, of="digests", checked=1, value=value, unit="TFLOPS", notes={
        "kernel": "mma-bf16", "engine": "own", "shape": shape, "digest": "aa"}) for shape, of in shapes.items() for value in of]


def rate_of(shapes: dict[str, list[float]]) -> Finding:
    made = results("matmul", powered(shapes), gpus=1)[StressResults]
    return next(one for one in matmul_rate_checks.rate(made, WOPR) if one.says.startswith("bf16"))


@pytest.mark.parametrize(("shapes", "outcome"), [
    ({"8192": [165.0] + [95.0] * 60}, Outcome.FAIL), ({"8192": [165.0] * 60 + [95.0]}, Outcome.PASS),
    ({"8192": [165.0], "16384": [95.0] * 60}, Outcome.FAIL),  # a moment of one shape is no rate either
    ({"8192": [165.0] * 30, "16384": [95.0] * 30}, Outcome.PASS), ({"8192": [165.0]}, Outcome.PASS)])
def test_a_rate_is_what_most_samples_of_the_best_shape_reach(shapes: dict[str, list[float]], outcome: Outcome) -> None:
    assert rate_of(shapes).outcome is outcome


def test_a_gpu_that_is_slow_but_for_a_moment_stays_behind_the_others() -> None:
    samples = powered({"8192": [165.0] + [95.0] * 60}) + powered({"8192": [165.0] * 61}, "cuda:1")
    found = matmul_rate_checks.spread(results("matmul", samples)[StressResults], WOPR)
    assert [one.outcome for one in found] == [Outcome.FAIL, Outcome.PASS]


# Links: a card with a switch of its own (RDNA), at 00:01.1 > 01:00.0 > 02:00.0 > 03:00.0, and one at 80:01.1.


WAYS = [[Bdf(f"0000:{bus + at:02x}:{place}") for at, place in enumerate(("01.1", "00.0", "00.0", "00.0"))]
        for bus in (0x00, 0x80)]
CARDS = [way[-1] for way in WAYS]
EVERY = [end for way in WAYS for end in way]


def rdna() -> StressResults:
    made: StressResults = results("matmul", gpus=[
        device(at, backend="hip", arch="gfx1100", bdf=bdf) for at, bdf in enumerate(CARDS)])[StressResults]
    return made


def seen(*ends: Bdf, widths: tuple[Bdf, ...] = ()) -> Watching:
    sound = Fall(best=16.0, least=16.0, seconds=60.0)
    made: Watching = results("matmul")[Watching]
    return Watching(**{name: getattr(made, name) for name in made.__struct_fields__} | {
        "links": ends, "link_widths": dict.fromkeys(widths, sound), "link_speeds_gts": dict.fromkeys(widths, sound)})


def test_every_end_on_the_way_to_a_gpu_that_was_not_read_is_unknown() -> None:
    hops = {way[at]: Hop(port=way[at], card=way[at + 1], on_card=at == 2) for way in WAYS for at in (0, 2)}
    ends = {**dict.fromkeys(EVERY), WAYS[1][0]: Unread("needs root", "permission"), WAYS[1][1]: "it has no AER counters"}
    where = LinkMap(hops=hops, ways={}, ends=ends)
    found = {one.subject.bdf: one for one in watched_links.judge_errors(rdna(), seen(*CARDS), where)}
    assert {bdf for bdf, one in found.items() if one.outcome is Outcome.UNKNOWN} == {*EVERY} - {*CARDS}
    assert [found[bdf].outcome for bdf in CARDS] == [Outcome.PASS] * 2
    assert found[WAYS[1][0]].needs_root
    assert found[WAYS[1][1]].says == "its error counters were not read twice: it has no AER counters"
    sound = watched_links.judge_errors(rdna(), seen(*EVERY), LinkMap(hops=hops, ways={}, ends=dict.fromkeys(EVERY)))
    assert {one.outcome for one in sound} == {Outcome.PASS}


def test_a_link_of_which_neither_end_was_read_is_unknown() -> None:
    def end(bdf: Bdf) -> LinkEnd:
        return LinkEnd(bdf, 16.0, 16, 16.0, 16, 16.0)

    no = Unread("not asked", "unsupported")
    links = {way[at]: Link(downstream=end(way[at]), upstream=end(way[at + 1]), slot=None, on_card=at == 2,
                           presence_detect=None, dll_active=None, under_load=no) for way in WAYS for at in (0, 2)}
    tree = Links(links, {way[-1]: (way[0], way[2]) for way in WAYS}, None)
    found = watched_links.link_speed(rdna(), seen(widths=tuple(CARDS)), tree, NONE)
    outcomes = {one.subject.bdf: one.outcome for one in found}
    assert outcomes == {way[at]: outcome for way in WAYS for at, outcome in ((0, Outcome.UNKNOWN), (3, Outcome.PASS))}
    read = (*CARDS, WAYS[0][0], WAYS[1][1])  # one end of each slot's link
    assert {one.outcome for one in watched_links.link_speed(rdna(), seen(widths=read), tree, NONE)} == {Outcome.PASS}


# GPUs that nobody drove.


def on_bus(made: RuntimeGpus, want: Profile, empty: bool = False) -> list[Finding]:
    gpus = Gpus(()) if empty else shown(0)[Gpus]
    return list(runtime.in_runtime(gpus, made, want))


def test_a_box_of_gpus_is_not_passed_by_its_processor() -> None:
    only = RuntimeGpus((), {}, ("cpu",))
    (found,) = on_bus(only, WOPR)
    assert found.outcome is Outcome.UNKNOWN
    assert "the profile wopr-7x4090 has 7 GPUs, on the bus: " in found.says
    assert found.says.count("PCIE") == 7
    (found,) = on_bus(only, WOPR, empty=True)
    assert found.says.endswith("on the bus: none")
    assert [one.outcome for one in on_bus(only, load_profile("generic"))] == [Outcome.SKIP]


def test_a_box_whose_bus_shows_no_gpu_lacks_all_of_them() -> None:
    (found,) = on_bus(RuntimeGpus((), {}, ("opencl",)), WOPR, empty=True)
    assert (found.outcome, found.says) == (Outcome.FAIL, "no GPU is on the bus, the profile has 7")
    (found,) = on_bus(RuntimeGpus((), {}, ("opencl",)), load_profile("generic"), empty=True)
    assert found.outcome is Outcome.SKIP


@pytest.mark.parametrize(("pci_id", "vendor"), [("1002:744c", "1002"), ("10DE:2684", "10de"), ("8086:56a0", None), (None, None)])
def test_an_opencl_device_is_read_by_the_vendor_of_its_card(pci_id: str | None, vendor: str | None) -> None:
    assert vendor_of(device(0, backend="opencl", arch="opencl", pci_id=pci_id)) == vendor


# Tests that options made smaller.


def size_of(module: str, options: dict[str, str], pulses: int | None = None, **changes: Any) -> Finding:
    samples = [] if pulses is None else [sample("power-pulse.bf16", notes={"pulses": pulses})]
    info = device(0, **changes)
    made = results(module, samples, gpus=[info], options=options)[StressResults]
    (found,) = whole_checks.size(made, NONE)
    return found


@pytest.mark.parametrize(("module", "option", "enough", "little"), [
    ("copy", "megabytes", "256", "255"), ("p2p", "megabytes", "64", "1"), ("collective", "megabytes", "256", "1"),
    ("vram", "megabytes", "19661", "19660"), ("vram", "rest", "10", "9.9"), ("vram", "rest", "60", "0.001"),
    ("matmul", "elements", "fp32,tf32,int8,fp16,bf16,e4m3", "fp32"), ("matmul", "phase", "power", "exact"),
    ("power-pulse", "duty", "0.5", "0.05")])
def test_an_option_that_makes_a_test_smaller_is_no_pass_of_a_gpu(module: str, option: str, enough: str, little: str) -> None:
    assert size_of(module, {option: enough}).outcome is Outcome.PASS
    found = size_of(module, {option: little})
    assert found.outcome is Outcome.UNKNOWN
    assert f"option {option}={little} " in found.says
    assert found.help
    assert size_of(module, {option: little}, is_gpu=False).outcome is Outcome.PASS


@pytest.mark.parametrize(("module", "option", "enough", "little"), [
    ("dram", "megabytes", "12288", "1"), ("dram", "percent", "50", "1"), ("dram", "spare", "0", "1"),
    ("cpu", "spare", "0", "1"), ("cpu", "elements", "fp32,fp64", "fp64"), ("cpu", "threads", "all", ""),
    ("nvme", "scratch_mib", "1024", "1"), *((module, "size", "", "test") for module in sorted(HOST))])
def test_an_option_that_makes_a_test_of_the_host_smaller_is_no_pass(
    module: str, option: str, enough: str, little: str
) -> None:
    host: dict[str, Any] = {"backend": "cpu", "arch": "cpu", "is_gpu": False, "memory_bytes": 24 << 30}
    for word, outcome in ((enough, Outcome.PASS), (little, Outcome.UNKNOWN)):
        if word:
            assert size_of(module, {option: word}, **host).outcome is outcome
    assert size_of(module, {}, **host).outcome is Outcome.PASS


def test_memory_that_is_asked_for_is_held_against_what_was_available() -> None:
    taken = [sample("dram.address.node0", "cpu:0", notes={"available_bytes": 4 << 30})]
    for word, outcome in (("2048", Outcome.PASS), ("2047", Outcome.UNKNOWN)):
        made = results("dram", taken, gpus=[device(0, backend="cpu", is_gpu=False)], options={"megabytes": word})
        (found,) = whole_checks.size(made[StressResults], NONE)
        assert found.outcome is outcome


def test_one_kernel_alone_and_a_missing_type_that_only_some_gpus_have_are_told() -> None:
    assert size_of("matmul", {"kernel": "portable-fp32"}).says == "option kernel=portable-fp32 leaves out every other kernel"
    most = {"elements": "bf16,fp16,int8,tf32,fp32"}
    assert size_of("matmul", most).says.endswith(" leaves out e4m3")
    assert size_of("matmul", most, arch="sm_80").outcome is Outcome.PASS


def test_what_a_plan_makes_by_itself_is_as_it_is_meant() -> None:
    host = device(0, backend="cpu", arch="cpu", is_gpu=False)
    for seconds in (120.0, 28800.0):
        plan = plan_for(seconds, "x", gpus=2, peers=2, known=sorted(STRESSES), only=())
        for step in (one for one in plan.steps if one.modules):
            for module in step.modules:
                made = results(module, gpus=[host if module in HOST else device(0)], warm_up=step.name == WARM_UP,
                               options=options_of(module, step.options))[StressResults]
                assert [one.outcome for one in whole_checks.size(made, NONE)] == [Outcome.PASS], (step, module)


def test_a_plan_of_small_tests_is_told_step_by_step() -> None:
    plan = plan_from('name = "x"\n[[step]]\nmodule = "dram"\nminutes = 1\noptions = { percent = "1" }', "x", sorted(STRESSES))
    assert size_of("dram", dict(plan.steps[0].options), backend="cpu", is_gpu=False).outcome is Outcome.UNKNOWN


def test_cores_that_the_engine_leaves_free_are_no_option_of_the_user() -> None:
    host = list_devices("cpu")
    assert isinstance(host, tuple)
    (_, _), (cpu, _) = run_together([STRESSES["wake"], STRESSES["cpu"]], host[:1], {}, Wanted(
        modules=("wake", "cpu"), seconds=0.3, backend="cpu", environment={"OPENBLAS_NUM_THREADS": "1"}))
    assert "spare" not in cpu.options
    assert [one.outcome for one in whole_checks.size(cpu, NONE)] == [Outcome.PASS]


def test_a_pulse_or_two_are_no_common_step() -> None:
    assert size_of("power-pulse", {}, pulses=10).outcome is Outcome.PASS
    found = size_of("power-pulse", {"hertz": "0.5"}, pulses=1)
    assert (found.outcome, found.says) == (Outcome.UNKNOWN, "1 pulse in all; less than 10 prove little")


def test_what_is_usual_is_what_the_modules_take() -> None:
    assert {of: value for of, value in USUAL.items() if of[1] == "megabytes"} == {
        ("copy", "megabytes"): copy.FULL_BYTES >> 20, ("p2p", "megabytes"): p2p_fabric.FULL_BYTES >> 20,
        ("collective", "megabytes"): collective_ring.FULL_BYTES >> 20}
    assert USUAL["power-pulse", "duty"] == power_pulse_module.DUTY
    assert USUAL["vram", "rest"] == vram_passes.REST_SECONDS
    assert (USUAL["dram", "percent"], PART_OF_HOST) == (host_memory_room.HALF, host_memory_room.HALF / 100)
    assert USUAL["nvme", "scratch_mib"] == host_nvme.SCRATCH_MIB
    assert HOST_ELEMENTS == host_cpu.ELEMENTS
    assert {name for name, module in STRESSES.items() if module.scope == "host"} == HOST
