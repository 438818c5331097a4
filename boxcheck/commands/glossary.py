"""The field's words, as boxcheck uses them: `boxcheck explain TERM` and docs/reference/glossary.md."""

from __future__ import annotations

from collections.abc import Mapping

TERMS: Mapping[str, str] = {
    "acceptance": (
        "What `boxcheck certify` makes of one box: doctor, load by the profile's plan, doctor again, and a folder that "
        "is signed and kept. It ends in a disposition."),
    "ACS": (
        "Access Control Services: what a PCIe port may do with traffic between the devices below it. With its "
        "redirect bits on, traffic from GPU to GPU goes up to the root and down again, and its rate was seen to "
        "halve. [PCI Express Base Specification, Access Control Services; aikitoria/open-gpu-kernel-modules issue "
        "6]"),
    "AER": (
        "Advanced Error Reporting: a PCIe capability that says which error a port or device saw, by class. "
        "Correctable errors were repaired by the link itself; uncorrectable ones lost data, and the fatal ones the "
        "link. [PCI Express Base Specification, Advanced Error Reporting; Linux "
        "Documentation/PCI/pcieaer-howto.rst]"),
    "ASPM": (
        "Active State Power Management: a link that rests between packets (L0s, L1) and must wake for the next. "
        "Weak risers show errors at waking that they do not show under steady load."),
    "atomics": (
        "Read-modify-write operations over PCIe. ROCm needs every port between a GPU and the processor to pass them "
        "on; where one does not, the kernel's driver leaves the GPU out of compute."),
    "BadDLLP": (
        "A DLLP that arrived with a wrong checksum. Who counts it is the receiver; the damage was done on the way "
        "to it."),
    "BadTLP": (
        "A TLP that arrived with a wrong checksum or sequence number. The receiver counts it, asks again, and the "
        "sender replays it. Data is not harmed; the link is slower and its margin thin."),
    "BAR": (
        "Base Address Register: the window of addresses through which the processor reaches a device. With "
        "Resizable BAR all of a GPU's memory is in it, else usually 256 MiB."),
    "BDF": "Bus, device and function: a PCI address, as 41:00.0 or with its domain 0000:41:00.0.",
    "BER": (
        "Bit error rate: damaged bits for each bit that crossed. PCI Express asks for less than 1e-12. What was "
        "watched for a short time shows a bound on it, not the rate (docs/explanation/what-zero-errors-means.md)."),
    "bifurcation": (
        "One slot's lanes divided among several links: x16 as x8 and x8, or as four x4. It is set in the BIOS and "
        "must fit the riser that is in the slot."),
    "BMC": "Baseboard management controller: a small computer on a server's board that reads sensors and keeps a log.",
    "capture": (
        "All that doctor reads of a machine, in one archive that `boxcheck capture` writes: any machine judges it with "
        "`boxcheck doctor --sysroot FILE`, without the box."),
    "disposition": (
        "What an acceptance comes to: PASS, MARGINAL PASS, FAIL, INCOMPLETE (nothing failed, not all was looked at) or "
        "ABORTED (docs/how-to/certify-a-box.md)."),
    "DLLP": (
        "Data Link Layer Packet: what the two ends of a link tell each other, acknowledgements and credits. It "
        "carries no data of programs."),
    "DPC": (
        "Downstream Port Containment: a port that sees an uncorrectable error takes its link down, so that nothing "
        "wrong spreads. The devices below are gone until the kernel brings the link up again. [PCI Express Base "
        "Specification, Downstream Port Containment; Linux Documentation/PCI/pci-error-recovery.rst]"),
    "ECC": (
        "Error-correcting code: memory that repairs a wrong bit in a word and notices two. A corrected error is "
        "counted; an uncorrected one ends the program that read it."),
    "EDAC": "The kernel's drivers that count errors of memory with ECC, by module where the board tells which.",
    "equalization": (
        "What both ends of a link adjust while it trains at 8 GT/s and more, so that bits are told apart after the "
        "way over board, riser and connectors. A link that does not complete it runs at a lower speed or with "
        "errors."),
    "generation": (
        "Of PCIe, and what its lanes carry: 1 2.5 GT/s, 2 5 GT/s, 3 8 GT/s, 4 16 GT/s, 5 32 GT/s. boxcheck says the "
        "speed itself, because that is what is read."),
    "goal": (
        "What the box is for: `any`, `rocm`, `cuda-p2p`, `tinygrad` or `vm`. IOMMU and ACS are judged by it, since "
        "what one of these needs is wrong for another. The profile has one; `--goal` takes another."),
    "GTT": (
        "Graphics translation table: system memory that an AMD GPU may use as its own. On Strix Halo it, and not "
        "the part that the BIOS sets aside, holds large models."),
    "IOMMU": (
        "The unit that translates the addresses that devices use. Where it translates for GPUs, transfers between "
        "them may be slow, refused or wrong; `iommu=pt` lets it translate for virtual machines alone."),
    "KFD": (
        "Kernel Fusion Driver: the part of amdgpu through which ROCm computes, at /dev/kfd. A GPU that amdgpu drives "
        "and KFD left out draws pictures and computes nothing."),
    "lane": (
        "A pair of wires for each direction. A link is of 1, 4, 8 or 16 of them (x16). One bad contact may cost "
        "half of the lanes, since widths are powers of two."),
    "lane margining": (
        "A receiver of 16 GT/s and more tells how far its sampling point can be moved before bits are lost: how "
        "much room a lane has. It is measured on a link at work. [PCI Express Base Specification 4.0, Lane "
        "Margining at the Receiver]"),
    "LnkCap": "Link capabilities: the speed and width that one end of a link can do.",
    "LnkSta": (
        "Link status: the speed and width that a link has now. A GPU at rest lowers its speed on purpose; boxcheck "
        "judges it under load."),
    "marginal": (
        "An outcome between passed and failed: what must be holds, what should be does not. `--strict` fails it."),
    "MCE": "Machine check exception: a fault that the processor itself found in its caches, memory or links.",
    "NUMA": (
        "Memory that is nearer to some cores than to others. A GPU's copies are fastest to the memory of its own "
        "node."),
    "P2P": (
        "Peer to peer: one GPU reads or writes another's memory without the host's. Where the driver does not offer "
        "it, copies between GPUs go through the host's memory."),
    "PARTIAL": (
        "How doctor or a load ends where nothing failed and a part of the box or of the checks was not looked at. It "
        "is no pass; exit code 3. The line names the command that gives a verdict."),
    "payload": (
        "Bytes of data that a copy moved and that were compared afterwards; headers and repeats are not counted."),
    "profile": (
        "A file that says what a box must be: its limits, each with its source, and which checks block. Without one "
        "nothing can pass."),
    "ReBAR": "Resizable BAR: see BAR. It needs its own setting and Above 4G Decoding in the BIOS.",
    "redriver": "A part of a riser that amplifies what arrives, noise too. Software cannot see it.",
    "replay": (
        "A TLP that was sent again because its acknowledgement did not come, or said that it arrived damaged. No "
        "data is lost; many of them are a link with little margin."),
    "retimer": (
        "A part that receives a link's bits and sends fresh ones, so that the loss budget starts anew. It shows as "
        "`Retimer+` in lspci -vv (LnkSta2)."),
    "riser": (
        "A cable or board between slot and card. Each of its connectors, and its length, takes from a link's "
        "margin."),
    "root port": (
        "The processor's end of a link. Which slot is behind it is told by the board's tables or by a profile."),
    "RxErr": (
        "Receiver error: bits on the wire that are no valid symbol. The receiver counts it. The earliest sign of a "
        "signal that is too weak."),
    "skipped": "An outcome: the question does not arise on this box, and the reason is told. It is not unknown.",
    "slot": (
        "Where a card is plugged in, by the name that is printed on the board. boxcheck has it from a profile or from "
        "the board's own tables; without either it says the address of the port."),
    "SMBIOS": (
        "The tables in which a board's firmware tells of board, BIOS, processor, slots and memory modules; `dmidecode` "
        "prints them, and only root reads all of them. They say what the vendor wrote, placeholders too."),
    "store": (
        "The file in which a run keeps what it did and saw, while it goes on: NAME.sqlite, SQLite, below "
        "~/.local/state/boxcheck/runs. `boxcheck report RUN` and `boxcheck judge RUN` read it."),
    "surprise down": "A link that went away without being asked to: a card that lost power, contact or its firmware.",
    "TLP": "Transaction Layer Packet: what carries the data of programs over PCIe, with a checksum of its own.",
    "training": (
        "What two ends of a link do before it carries data: find lanes, width and speed. A link that trained badly "
        "works, slower or narrower, until it is trained again."),
    "unknown": (
        "An outcome: what had to be read was not. It never counts as passed; a verdict that needs it is incomplete, "
        "exit code 3."),
    "verdict": (
        "What a box comes to by the checks that its profile requires: passed, failed, or unknown where one of them was "
        "not read. The exit code says the same (docs/reference/exit-codes.md)."),
    "waiver": "A person's word that a failing check is accepted, with reason and last day. Reports always show it.",
    "XID": (
        "The number by which NVIDIA's driver names an error in the kernel's log. `boxcheck explain xid.79` tells "
        "what one means. [NVIDIA, Xid Errors]"),
}
"""Terms as they are written, and what they mean; sources in brackets where a claim is more than common use."""

FOLDED: Mapping[str, str] = {term.casefold(): term for term in TERMS}
"""Terms by what is looked for, whatever its case."""
