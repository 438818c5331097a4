"""Mutations of links that are no GPU's slot: the riser of a switch, the link on a card, the links of drives."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.mutations import RADEON, WOPR, card_of, gpu_of, mutation, port_of
from tests.boxes.mutations_links import eq_incomplete, lane_errors, retrain
from tests.boxes.mutations_parts import behind_switch


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
