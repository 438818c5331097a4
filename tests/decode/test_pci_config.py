"""What the configuration space decoder says of a function, and above all of what it could not read."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.decode import pci_aer
from boxcheck.decode.pci_config import ConfigSpace, decode_config
from boxcheck.decode.pci_express import PORT_TYPES, PciExpress
from boxcheck.decode.pci_link import decode_link_cap, decode_link_ctl2, decode_link_sta
from boxcheck.model import Unread

from .pci_builder import (
    DOWNSTREAM,
    ENDPOINT,
    EVENT_COLLECTOR,
    FROM_PCI_BRIDGE,
    INTEGRATED,
    ROOT_PORT,
    UPSTREAM,
    ConfigBuilder,
    dwords,
    root_port,
    words,
)
from .pci_zoo import switch_tree

EXTENDED_FIELDS = ("aer", "acs", "rebar", "vf_rebar", "dpc", "l1ss", "secondary", "phy16", "phy32", "phy64",
                   "margining", "ltr", "serial")  # fmt: skip
LISTED_FIELDS = ("capabilities", "extended", "express", "power", "vpd", *EXTENDED_FIELDS)


def decode(data: bytes) -> ConfigSpace:
    space = decode_config(data)
    assert isinstance(space, ConfigSpace)
    return space


def express(space: ConfigSpace) -> PciExpress:
    assert isinstance(space.express, PciExpress)
    return space.express


def kinds(space: ConfigSpace, *names: str) -> set[str]:
    return {value.kind if isinstance(value := getattr(space, name), Unread) else "read" for name in names}


# ---- what an ordinary user gets ----


def test_64_bytes_leave_every_capability_unread_for_want_of_root() -> None:
    space = decode(root_port().bytes()[:64])
    assert kinds(space, *LISTED_FIELDS) == {"permission"}
    assert (space.vendor, space.device, space.size) == (0x1022, 0x1483, 64)
    assert isinstance(space.subsystem_vendor, Unread)  # a bridge has it in a capability
    assert space.bridge is not None
    assert space.bridge.secondary == 0x41


def test_64_bytes_of_a_function_without_capabilities_are_all_there_is_to_know() -> None:
    space = decode(ConfigBuilder(header_type=0).bytes()[:64])
    assert space.capabilities == ()
    assert space.extended == ()
    assert space.express is None
    assert space.aer is None
    assert space.vpd is False


def test_an_endpoint_has_its_subsystem_in_the_header() -> None:
    space = decode(switch_tree(4)["0000:43:00.0"][:64])
    assert (space.subsystem_vendor, space.subsystem_device) == (0x1002, 0x0E3B)
    assert space.multifunction
    assert space.bars[:2] == (0x0000_000C, 0x0000_0018)


def test_128_bytes_are_what_a_user_gets_of_a_cardbus_bridge() -> None:
    bridge = ConfigBuilder(header_type=2, size=128)
    bridge.u16(0x06, 0x0010).u8(0x14, 0xA0).u16(0x40, 0x10CF).u16(0x42, 0x143D)
    space = decode(bridge.bytes())
    assert kinds(space, "capabilities", "power", "express") == {"permission"}
    assert (space.subsystem_vendor, space.subsystem_device) == (0x10CF, 0x143D)
    assert isinstance(decode(bridge.bytes()[:64]).subsystem_vendor, Unread)


def test_256_bytes_of_a_pcie_function_leave_the_extended_capabilities_unread() -> None:
    space = decode(root_port().bytes()[:256])
    assert express(space).port_type == "root-port"
    assert kinds(space, "extended", *EXTENDED_FIELDS) == {"unsupported"}


def test_256_bytes_of_a_conventional_function_are_all_it_has() -> None:
    function = ConfigBuilder(header_type=0, size=256)
    function.cap(0x01, words(0x0003, 0x0000) + bytes(2))
    space = decode(function.bytes())
    assert space.extended == ()
    assert space.aer is None
    assert space.express is None


@pytest.mark.parametrize(("status", "kind"), [(0x0000_0000, "read"), (0x4000_0000, "unsupported")])
def test_pcix_has_extended_space_only_in_mode_2(status: int, kind: str) -> None:
    function = ConfigBuilder(header_type=0, size=256)
    function.cap(0x07, words(0) + dwords(status))
    assert kinds(decode(function.bytes()), "extended", "aer") == {kind}


@pytest.mark.parametrize("size", [0, 1, 63])
def test_less_than_a_header_is_no_function(size: int) -> None:
    space = decode_config(bytes(size))
    assert isinstance(space, Unread)
    assert space.kind == "malformed"
    assert str(size) in space.why


# ---- devices that do not answer ----


def test_a_device_that_fell_off_the_bus_reads_as_ones() -> None:
    space = decode(b"\xff" * 4096)
    assert space.all_ones
    assert not space.virtual_function
    assert kinds(space, *LISTED_FIELDS, "subsystem_vendor", "subsystem_device") == {"error"}


def test_a_virtual_function_has_no_vendor_and_is_not_gone() -> None:
    function = ConfigBuilder(vendor=0xFFFF, device=0xFFFF, header_type=0)
    function.express(ENDPOINT)
    space = decode(function.bytes())
    assert not space.all_ones
    assert space.virtual_function
    assert express(space).port_type == "endpoint"


def test_a_device_that_is_not_ready_answers_with_retry_status() -> None:
    space = decode(words(0x0001, 0xFFFF) + b"\xff" * 4092)
    assert not space.all_ones
    assert kinds(space, *LISTED_FIELDS) == {"error"}


def test_extended_space_that_reads_as_ones_is_not_an_empty_one() -> None:
    data = root_port().bytes()[:256] + b"\xff" * 3840
    assert kinds(decode(data), "extended", *EXTENDED_FIELDS) == {"error"}


def test_extended_space_that_repeats_the_first_256_bytes_is_none() -> None:
    assert kinds(decode(root_port().bytes()[:256] * 16), "extended", *EXTENDED_FIELDS) == {"error"}


def test_extended_space_that_reads_as_zeros_holds_nothing() -> None:
    space = decode(root_port().bytes()[:256] + bytes(3840))
    assert space.extended == ()
    assert space.aer is None
    assert space.dpc is None


# ---- lists that are broken ----


def test_what_was_found_before_a_loop_counts_and_what_was_not_is_unread() -> None:
    port = root_port()
    port.u8(0x85, 0x40)  # the last capability points back to the first
    space = decode(port.bytes())
    assert express(space).port_type == "root-port"
    assert space.subsystem_vendor == 0x1022
    assert kinds(space, "capabilities", "vpd") == {"malformed"}
    assert isinstance(space.extended, tuple)


def test_a_loop_of_extended_capabilities() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT)
    first = port.ext(0x0001, bytes(0x34))
    second = port.ext(0x000D, words(0x7F, 0x01))
    port.u32(second, 0x000D | 1 << 16 | first << 20)
    space = decode(port.bytes())
    assert kinds(space, "aer", "acs") == {"read"}
    assert kinds(space, "extended", "dpc", "serial") == {"malformed"}


@pytest.mark.parametrize("pointer", [0x04, 0x3C])
def test_a_capability_list_that_points_into_the_header(pointer: int) -> None:
    port = ConfigBuilder().u16(0x06, 0x0010).u8(0x34, pointer)
    assert kinds(decode(port.bytes()), *LISTED_FIELDS) == {"malformed"}


def test_an_extended_list_that_points_below_256() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT)
    port.u32(0x100, 0x0018 | 1 << 16 | 0x80 << 20)
    space = decode(port.bytes())
    assert kinds(space, "ltr") == {"read"}
    assert kinds(space, "extended", "aer") == {"malformed"}


def test_a_capability_that_reads_as_ones() -> None:
    port = ConfigBuilder().u16(0x06, 0x0010).u8(0x34, 0x80).u16(0x80, 0xFFFF)
    assert kinds(decode(port.bytes()), "capabilities", "express", "extended") == {"malformed"}


def test_an_unknown_header_type_has_no_list_to_follow() -> None:
    port = ConfigBuilder(header_type=0x55).u16(0x06, 0x0010).u8(0x34, 0x40)
    space = decode(port.bytes())
    assert kinds(space, "capabilities", "express", "subsystem_vendor") == {"malformed"}
    assert space.bars == ()
    assert space.bridge is None


@pytest.mark.parametrize(
    ("at", "version", "cut"), [(0xC8, 2, False), (0xD0, 2, True), (0xD0, 1, False), (0xE0, 1, True)]
)
def test_an_express_capability_that_overruns_the_first_256_bytes_is_cut_off(at: int, version: int, cut: bool) -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT, version=version, at=at)
    assert isinstance(decode(port.bytes()).express, Unread) is cut


def test_an_extended_capability_at_the_very_end() -> None:
    port = ConfigBuilder()
    port.express(ENDPOINT)
    port.ext(0x0001, bytes(0x28))
    port.ext(0x000D, bytes(4), at=0xFF8)
    port.ext(0x001D, b"", at=0xFFC)
    space = decode(port.bytes())
    assert kinds(space, "extended", "aer", "acs") == {"read"}
    assert kinds(space, "dpc") == {"malformed"}
    assert "0xffc" in getattr(space.dpc, "why", "")


def test_data_that_ends_within_a_list_was_damaged_not_denied() -> None:
    assert kinds(decode(root_port().bytes()[:70]), "capabilities", "power") == {"malformed"}
    assert kinds(decode(root_port().bytes()[:0x120]), "extended", "aer") == {"malformed"}


@pytest.mark.parametrize("count", [0, 7])
def test_a_resizable_bar_capability_of_no_or_seven_bars(count: int) -> None:
    function = ConfigBuilder(header_type=0)
    function.express(ENDPOINT)
    function.ext(0x0015, dwords(*[0x0000_0010, count << 5] * 7))
    assert kinds(decode(function.bytes()), "rebar") == {"malformed"}


# ---- registers that are not defined for a function ----

LINK = {"link_cap", "link_ctl", "link_sta"}
SLOT = {"slot_cap", "slot_ctl", "slot_sta"}
ROOT = {"root_cap", "root_ctl", "root_sta"}
DEVICE2 = {"dev_cap2", "dev_ctl2"}
LINK2 = {"link_cap2", "link_ctl2", "link_sta2"}


@pytest.mark.parametrize(
    ("port_type", "version", "slot", "present"),
    [
        (ENDPOINT, 1, False, LINK),
        (ENDPOINT, 2, True, LINK | DEVICE2 | LINK2),  # the slot bit means nothing on an endpoint
        (ROOT_PORT, 1, True, LINK | SLOT | ROOT),
        (ROOT_PORT, 2, False, LINK | ROOT | DEVICE2 | LINK2),
        (UPSTREAM, 2, True, LINK | DEVICE2 | LINK2),
        (DOWNSTREAM, 2, True, LINK | SLOT | DEVICE2 | LINK2),
        (FROM_PCI_BRIDGE, 2, True, LINK | SLOT | DEVICE2 | LINK2),
        (INTEGRATED, 2, False, DEVICE2),
        (INTEGRATED, 1, False, set()),
        (EVENT_COLLECTOR, 2, False, ROOT | DEVICE2),
    ],
)
def test_registers_by_port_type_and_version(port_type: int, version: int, slot: bool, present: set[str]) -> None:
    function = ConfigBuilder()
    registers = {offset: (4, 0xFFFF_FFFF) for offset in range(0x04, 0x3C, 4)}
    function.express(port_type, version=version, slot=slot, registers=registers)
    capability = express(decode(function.bytes()))
    optional = LINK | SLOT | ROOT | DEVICE2 | LINK2
    assert {name for name in optional if getattr(capability, name) is not None} == present
    assert capability.port_type == PORT_TYPES[port_type]


def test_aer_root_registers_belong_to_root_ports() -> None:
    for port_type, there in ((ROOT_PORT, True), (EVENT_COLLECTOR, True), (DOWNSTREAM, False), (ENDPOINT, False)):
        function = ConfigBuilder()
        function.express(port_type)
        function.ext(0x0001, b"\xff" * 0x44)
        aer = decode(function.bytes()).aer
        assert isinstance(aer, pci_aer.AerCapability)
        assert (aer.root is not None) is there


# ---- values ----


def test_a_healthy_root_port() -> None:
    space = decode(root_port().bytes())
    capability = express(space)
    assert capability.is_downstream
    assert capability.max_speed_gts == 16.0
    assert capability.link_cap is not None
    assert (capability.link_cap.max_speed_gts, capability.link_cap.max_width) == (16.0, 16)
    assert capability.link_sta is not None
    assert (capability.link_sta.speed_gts, capability.link_sta.width) == (16.0, 16)
    assert capability.link_sta.dll_active
    assert capability.slot_cap is not None
    assert (capability.slot_cap.number, capability.slot_cap.power_limit_watts) == (9, 75.0)
    assert capability.slot_sta is not None
    assert capability.slot_sta.presence_detect
    assert capability.link_cap2 is not None
    assert capability.link_cap2.supported_speeds_gts == (2.5, 5.0, 8.0, 16.0)
    assert space.serial == "00-11-22-33-de-ad-be-ef"
    assert space.bridge is not None
    assert space.bridge.io is None
    assert space.bridge.memory is not None
    assert (space.bridge.memory.base, space.bridge.memory.size_bytes) == (0xC000_0000, 16 << 20)
    assert space.bridge.prefetchable is not None
    assert space.bridge.prefetchable.size_bytes == 32 << 30
    assert isinstance(space.extended, tuple)
    assert len(space.extended) == 15


def test_resizable_bars() -> None:
    space = decode(switch_tree(4)["0000:43:00.0"])
    assert isinstance(space.rebar, tuple)
    first, second, third = space.rebar
    assert (first.bar, first.current_size_bytes) == (0, 32 << 30)
    assert first.supported_sizes_bytes == tuple((256 << 20) << step for step in range(8))  # 256 MiB to 32 GiB
    assert (second.bar, second.current_size_bytes) == (2, 256 << 20)
    assert (third.bar, third.supported_sizes_bytes) == (4, (1 << 20,))


def test_resizable_bar_sizes_beyond_128_tib_are_in_the_control_register() -> None:
    function = ConfigBuilder(header_type=0)
    function.express(ENDPOINT)
    function.ext(0x0015, dwords(0x8000_0010, 0x8001_2B20))
    rebar = decode(function.bytes()).rebar
    assert isinstance(rebar, tuple)
    assert rebar[0].current_size_bytes == 1 << 63
    assert rebar[0].supported_sizes_bytes == (1 << 20, 1 << 47, 1 << 48, 1 << 63)
    function.u32(0x108, 0x0000_2C20)
    rebar = decode(function.bytes()).rebar
    assert isinstance(rebar, tuple)
    assert (rebar[0].current_size_bytes, rebar[0].size_code) == (None, 44)


@pytest.mark.parametrize(
    ("code", "gts"),
    [(0, None), (1, 2.5), (2, 5.0), (3, 8.0), (4, 16.0), (5, 32.0), (6, 64.0), (7, 128.0), (8, None), (15, None)],
)
def test_speed_codes(code: int, gts: float | None) -> None:
    assert decode_link_sta(code).speed_gts == gts
    assert decode_link_cap(code).max_speed_gts == gts


@pytest.mark.parametrize(
    ("width", "legal"), [(0, False), (1, True), (3, False), (8, True), (12, True), (32, True), (63, False)]
)
def test_widths_are_given_as_read_and_judged_apart(width: int, legal: bool) -> None:
    status = decode_link_sta(width << 4 | 1)
    assert (status.width, status.width_is_legal) == (width, legal)
    assert decode_link_cap(width << 4 | 1).max_width_is_legal is legal


def test_a_link_whose_device_went_away_between_two_reads() -> None:
    assert decode_link_sta(0xFFFF).gone
    assert not decode_link_sta(0x3104).gone
    assert decode_link_sta(0xFFFF).speed_gts is None


def test_target_speed_zero_is_2_5_only_where_nothing_faster_exists() -> None:
    assert decode_link_ctl2(0, max_speed_code=1).target_speed_gts == 2.5
    assert decode_link_ctl2(0, max_speed_code=4).target_speed_gts is None
    assert decode_link_ctl2(3, max_speed_code=4).target_speed_gts == 8.0


def test_max_speed_comes_from_the_vector_where_there_is_one() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT, registers={0x0C: (4, 0x0104), 0x2C: (4, 0x000E)})
    assert express(decode(port.bytes())).max_speed_gts == 8.0
    port = ConfigBuilder()
    port.express(ROOT_PORT, registers={0x0C: (4, 0x0104), 0x2C: (4, 0)})
    assert express(decode(port.bytes())).max_speed_gts == 16.0


def test_slot_power_limit_above_250_watts() -> None:
    for value, scale, watts in ((75, 0, 75.0), (250, 1, 25.0), (0xF0, 0, 250.0), (0xFE, 0, 600.0), (0xFF, 0, None)):
        port = ConfigBuilder()
        port.express(ROOT_PORT, slot=True, registers={0x14: (4, value << 7 | scale << 15)})
        slot = express(decode(port.bytes())).slot_cap
        assert slot is not None
        assert slot.power_limit_watts == watts


def test_lane_masks_reach_lane_31() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT)
    port.ext(0x0019, dwords(0x3, 0x8001_0000))
    port.ext(0x0026, dwords(0, 0, 0x12, 0x8000, 0x1, 0x2))
    space = decode(port.bytes())
    assert space.secondary is not None
    assert not isinstance(space.secondary, Unread)
    assert space.secondary.lane_errors == (16, 31)
    assert space.secondary.perform_equalization
    assert space.phy16 is not None
    assert not isinstance(space.phy16, Unread)
    assert space.phy16.local_parity_lanes == (15,)
    assert space.phy16.first_retimer_parity_lanes == (0,)
    assert space.phy16.second_retimer_parity_lanes == (1,)
    assert (space.phy16.eq_phase1, space.phy16.link_eq_request, space.phy16.eq_complete) == (True, True, False)


def test_margining_readiness() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT)
    port.ext(0x0027, words(0x0001, 0x0002))
    margining = decode(port.bytes()).margining
    assert margining is not None
    assert not isinstance(margining, Unread)
    assert (margining.uses_driver, margining.ready, margining.software_ready) == (True, False, True)


def test_acs_redirects() -> None:
    for control, redirects in ((0x0000, False), (0x0011, False), (0x0004, True), (0x0008, True)):
        port = ConfigBuilder()
        port.express(DOWNSTREAM)
        port.ext(0x000D, words(0x007F, control))
        acs = decode(port.bytes()).acs
        assert acs is not None
        assert not isinstance(acs, Unread)
        assert acs.redirects is redirects


def test_bridge_windows_open_closed_and_above_4_gib() -> None:
    port = ConfigBuilder()
    port.u8(0x1C, 0x31).u8(0x1D, 0x41).u16(0x30, 0x0001).u16(0x32, 0x0001)
    port.u16(0x20, 0xFFF0).u16(0x22, 0x0000)
    port.u16(0x24, 0x0001).u16(0x26, 0xFFF1).u32(0x28, 0xFFFF_FFF0).u32(0x2C, 0xFFFF_FFFF)
    bridge = decode(port.bytes()).bridge
    assert bridge is not None
    assert bridge.io is not None
    assert (bridge.io.base, bridge.io.limit) == (0x1_3000, 0x1_4FFF)
    assert bridge.memory is None
    assert bridge.prefetchable is not None
    assert bridge.prefetchable.limit == 0xFFFF_FFFF_FFFF_FFFF
    assert bridge.prefetchable_64bit


def test_power_state() -> None:
    for code, state in enumerate(("D0", "D1", "D2", "D3hot")):
        function = ConfigBuilder(header_type=0, size=256)
        function.cap(0x01, words(0x0003, code | 0x8108) + bytes(2))
        power = decode(function.bytes()).power
        assert power is not None
        assert not isinstance(power, Unread)
        assert power.state == state
        assert (power.no_soft_reset, power.pme_enabled, power.pme_status) == (True, True, True)


# ---- AER names ----


def test_aer_names_go_both_ways() -> None:
    for names, bits, terms in (
        (pci_aer.AER_CORRECTABLE, pci_aer.AER_CORRECTABLE_BIT, pci_aer.AER_CORRECTABLE_TERMS),
        (pci_aer.AER_UNCORRECTABLE, pci_aer.AER_UNCORRECTABLE_BIT, pci_aer.AER_UNCORRECTABLE_TERMS),
    ):
        assert set(names.values()) == set(terms)
        assert len(set(terms.values())) == len(terms)
        for bit, name in names.items():
            assert bits[name] == bits[terms[name]] == bit
    assert pci_aer.AER_CORRECTABLE_BIT["AdvNonFatalErr"] == 13
    assert pci_aer.AER_CORRECTABLE_BIT["RELAY_NUM Rollover"] == 8


def test_aer_status_by_name_with_bits_that_have_none() -> None:
    assert pci_aer.correctable_names(1 << 6 | 1 << 12) == ("BadTLP", "Timeout")
    assert pci_aer.uncorrectable_names(1 << 5 | 1 << 7) == ("SDES", "bit7")
    assert pci_aer.correctable_names(0) == ()


def test_first_error_means_something_only_while_its_status_is_set() -> None:
    port = ConfigBuilder()
    port.express(ROOT_PORT)
    port.ext(0x0001, dwords(1 << 14, 0, 0, 0, 0, 14, 1, 2, 3, 4) + bytes(16))
    aer = decode(port.bytes()).aer
    assert isinstance(aer, pci_aer.AerCapability)
    assert (aer.first_error, aer.first_error_pointer) == ("CmpltTO", 14)
    assert aer.header_log == (1, 2, 3, 4)
    port.u32(0x104, 0)
    aer = decode(port.bytes()).aer
    assert isinstance(aer, pci_aer.AerCapability)
    assert aer.first_error is None


def test_requester_ids() -> None:
    assert pci_aer.requester_bdf(0x4109) == "0000:41:01.1"
    assert pci_aer.requester_bdf(0xFFFF, domain=0x10000) == "10000:ff:1f.7"


# ---- the value as a fact ----


def test_a_decoded_function_can_be_hashed_compared_and_encoded() -> None:
    space = decode(root_port().bytes())
    assert space == decode(root_port().bytes())
    assert hash(space) == hash(decode(root_port().bytes()))
    told = msgspec.json.decode(msgspec.json.encode(space))
    assert told["express"]["link_sta"]["speed_gts"] == 16.0
    assert told["aer"]["correctable_status"] == ["RxErr", "NonFatalErr"]
    unread = msgspec.json.decode(msgspec.json.encode(decode(root_port().bytes()[:64])))
    assert unread["aer"]["kind"] == "permission"
