"""Mutations of links that are no GPU's slot: the riser of a switch, the link on a card, the links of drives."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import CARDS, DEV, GREEN, RADEON, RED, WOPR, card_of, gpu_of, mutation, port_of
from tests.boxes.mutations_links import eq_incomplete, lane_errors, retrain
from tests.boxes.mutations_parts import behind_switch
from tests.boxes.pci_build import Function
from tests.boxes.pci_extended import Aer


@mutation("switch-uplink-gen3", WOPR, area="the riser of a switch: 8.0 GT/s under load, both ends capable of 16",
          slot="PCIE3")
def switch_uplink_gen3(machine: Machine) -> None:
    behind_switch(machine, 16)
    retrain(machine, 8.0, 16)


@mutation("switch-uplink-lanes", WOPR, area="the riser of a switch: lane error status and open equalisation",
          slot="PCIE3")
def switch_uplink_lanes(machine: Machine) -> None:
    behind_switch(machine, 16)
    lane_errors(machine)
    eq_incomplete(machine)


@mutation("switch-uplink-load-x8", WOPR, area="the riser of a switch: x8 under load only", slot="PCIE3")
def switch_uplink_load_x8(machine: Machine) -> None:
    behind_switch(machine, 16)
    for end in (port_of(machine), card_of(machine)):
        end.load_link = 16.0, 8


@mutation("on-card-x8", *RADEON, area="the link on the card between 1002:1479 and the GPU is x8", slot="PCIE3")
def on_card_x8(machine: Machine) -> None:
    inner = gpu_of(machine).parent
    assert inner is not None
    inner.train(inner.express.speed_gts, 8)


@mutation("on-card-gen1", *RADEON, area="the link on the card runs at 2.5 GT/s under load", slot="PCIE3")
def on_card_gen1(machine: Machine) -> None:
    inner = gpu_of(machine).parent
    assert inner is not None
    for end in (inner, *inner.children):
        end.load_link = 2.5, 16


# Errors of these links, and errors that nobody reports


@mutation("on-card-fatal", *RADEON, area="uncorrectable fatal at the GPU, behind the switch on its card", slot="PCIE3")
def on_card_fatal(machine: Machine) -> None:
    gpu_of(machine).count(fatal={"SDES": 1, "CmpltTO": 5})


@mutation("switch-uplink-fatal", WOPR, area="uncorrectable fatal at the upstream port of a switch", slot="PCIE3")
def switch_uplink_fatal(machine: Machine) -> None:
    behind_switch(machine, 16)
    machine.assemble()
    card_of(machine).count(fatal={"SDES": 1})


@mutation("audio-function-errors", *CARDS, area="bad TLPs that the card's audio function alone counted", slot="PCIE3")
def audio_function_errors(machine: Machine) -> None:
    audio = _audio(gpu_of(machine))
    audio.need(Aer).correctable_mask = 0
    audio.count({"BadTLP": 12})


@mutation("audio-function-fatal", *CARDS, area="uncorrectable fatal at the card's audio function", slot="PCIE3")
def audio_function_fatal(machine: Machine) -> None:
    _audio(gpu_of(machine)).count(fatal={"CmpltTO": 1})


def _audio(gpu: Function) -> Function:
    assert gpu.parent is not None
    audio = next(one for one in gpu.parent.children if one is not gpu and one.class_code >> 8 == 0x0403)
    if audio.get(Aer) is None:
        audio.capabilities.append(Aer(0x100))
    return audio


@mutation("uncorrectable-unreported", *CARDS, area="nobody is told of uncorrectable errors: reporting off at the port",
          slot="PCIE3")
def uncorrectable_unreported(machine: Machine) -> None:
    port_of(machine).express.reporting = 0x9


@mutation("uncorrectable-masked", *CARDS, area="nobody is told of uncorrectable errors: the card masks them all",
          slot="PCIE3")
def uncorrectable_masked(machine: Machine) -> None:
    card_of(machine).need(Aer).uncorrectable_mask = 0xFFFF_FFFF


@mutation("uncorrectable-no-interrupt", *CARDS, area="the root port raises no interrupt for uncorrectable errors",
          slot="PCIE3")
def uncorrectable_no_interrupt(machine: Machine) -> None:
    port_of(machine).root_port().need(Aer).root_command = 0x1


@mutation("uncorrectable-standing", *CARDS, area="a surprise-down error stands in the port's status, none is counted",
          slot="PCIE3")
def uncorrectable_standing(machine: Machine) -> None:
    port_of(machine).latch(fatal={"SDES": 1})


@mutation("uncorrectable-usual-masks", *CARDS, healthy=True,
          area="none: firmware masks ACS violations, completion time-outs, unexpected completions, unsupported requests")
def uncorrectable_usual_masks(machine: Machine) -> None:
    for end in (port_of(machine), card_of(machine)):
        end.need(Aer).uncorrectable_mask = 1 << 14 | 1 << 16 | 1 << 20 | 1 << 21
        end.need(Aer).uncorrectable_status = 1 << 20


@mutation("internal-errors", *CARDS, area="corrected internal errors of the GPU", slot="PCIE3")
def internal_errors(machine: Machine) -> None:
    gpu = gpu_of(machine)
    gpu.need(Aer).correctable_mask = 0
    gpu.count({"CorrIntErr": 500})


@mutation("root-total-only", *CARDS, area="corrected errors in the root port's total, none at a device", slot="PCIE3")
def root_total_only(machine: Machine) -> None:
    port_of(machine).root_port().errors.root_correctable = 5000


@mutation("root-total-burst", *CARDS, healthy=True, area="none: the total exceeds the sum below it by a burst's messages")
def root_total_burst(machine: Machine) -> None:
    advisory = gpu_of(machine)
    advisory.need(Aer).correctable_mask = 0
    advisory.count({"NonFatalErr": 178})
    port_of(machine).root_port().errors.root_correctable += 20


@mutation("nvme-rollover", WOPR, RED, GREEN, DEV, area="bad TLPs and rollovers on the link of an NVMe drive")
def nvme_rollover(machine: Machine) -> None:
    port = machine.drives[0].function.parent
    assert port is not None
    port.count({"BadTLP": 500, "Rollover": 3})


@mutation("nvme-dropped", WOPR, RED, GREEN, DEV, area="surprise down on the link of an NVMe drive")
def nvme_dropped(machine: Machine) -> None:
    port = machine.drives[0].function.parent
    assert port is not None
    port.count(fatal={"SDES": 1})
