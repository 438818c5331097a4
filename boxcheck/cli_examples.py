"""Examples that `--help` of each command ends with, and the manual's pages take over. A test runs the parser on all."""

from __future__ import annotations

from collections.abc import Sequence

import typer

EXAMPLES: dict[str, Sequence[tuple[str, str]]] = {
    "": (
        ("boxcheck doctor", "what is wrong with this box, and what to do"),
        ("sudo dmesg | boxcheck triage -", "what a log means, whoever's it is"),
        ("boxcheck demo", "all of it on boxes that come with boxcheck"),
    ),
    "doctor": (
        ("boxcheck doctor", "this machine, by the profile that matches"),
        ("boxcheck doctor pcie aer", "only these areas; ends in PARTIAL"),
        ("boxcheck doctor --sysroot box.tar.gz", "a capture of another box"),
        ("boxcheck doctor --json run.json --strict", "for a script"),
    ),
    "facts": (
        ("boxcheck facts --json facts.json", ""),
        ("boxcheck facts --sysroot box.tar.gz", "those of a capture"),
    ),
    "capture": (
        ("sudo boxcheck capture box.tar.gz --redact", "without serials and names"),
        ("boxcheck capture --script > capture.sh", "for a box without Python"),
    ),
    "triage": (
        ("sudo dmesg | boxcheck triage -", ""),
        ("boxcheck triage dmesg.txt lspci.txt", "each tells more beside the other"),
        ("boxcheck triage box.tar.gz --only xid", "one kind of event"),
    ),
    "checks": (
        ("boxcheck checks", ""),
        ("boxcheck checks --profile wopr-7x4090", "which of them block its verdict"),
    ),
    "explain": (
        ("boxcheck explain pcie.link-width", "a check"),
        ("boxcheck explain xid.79", "a number of NVIDIA's driver"),
        ("boxcheck explain replay", "a word of the glossary"),
    ),
    "profile": (
        ("boxcheck profile list", ""),
    ),
    "profile list": (
        ("boxcheck profile list", ""),
    ),
    "profile show": (
        ("boxcheck profile show tinybox-green", ""),
        ("boxcheck profile show ./mine.toml --json -", ""),
    ),
    "profile check": (
        ("boxcheck profile check mine.toml", ""),
    ),
    "profile detect": (
        ("boxcheck profile detect", ""),
        ("boxcheck profile detect --sysroot box.tar.gz", ""),
    ),
    "profile draft": (
        ("boxcheck profile draft > mine.toml", "to be read and corrected by you"),
        ("boxcheck profile draft --from-run RUN --from-run RUN > mine.toml", ""),
        ("boxcheck profile draft --from-run RUN --share rates.json > mine.toml", ""),
    ),
    "profile beside": (
        ("boxcheck profile beside RUN rates.json", "a box and what good ones measured"),
    ),
    "stress": (
        ("boxcheck stress list", ""),
        ("boxcheck stress run vram --seconds 60", ""),
    ),
    "stress list": (
        ("boxcheck stress list", ""),
    ),
    "stress run": (
        ("boxcheck stress run matmul --seconds 60", "every GPU"),
        ("boxcheck stress run copy vram --gpu PCIE3", "the card in one slot"),
        ("boxcheck stress run vram --backend cpu --option size=test", "without a GPU"),
    ),
    "burn": (
        ("boxcheck burn --dry-run", "the plan alone"),
        ("boxcheck burn", "level 1, about 2 minutes"),
        ("sudo boxcheck burn --level 4 --detach", "over night; `attach` follows it"),
        ("boxcheck burn --resume", "after a power cut"),
    ),
    "watch": (
        ("boxcheck watch -- torchrun --nproc-per-node 7 train.py", ""),
        ("boxcheck watch --for 1h", "whatever runs"),
    ),
    "attach": (
        ("boxcheck attach", "the run that is going on"),
        ("boxcheck attach RUN --replay --speed 600", "one that is over, as a film"),
    ),
    "judge": (
        ("boxcheck judge RUN", ""),
        ("boxcheck judge RUN --profile ./stricter.toml", "by other limits"),
    ),
    "riser": (
        ("sudo boxcheck riser --all", "every link at the same load"),
        ("sudo boxcheck riser PCIE7", "an experiment on one of them"),
        ("sudo boxcheck riser --resume", "after each power cycle"),
    ),
    "certify": (
        ("boxcheck certify --dry-run", "the plan alone"),
        ("sudo boxcheck certify --serial W-0007 --operator ann", ""),
        ("sudo boxcheck certify --resume", "after a crash or a restart"),
    ),
    "compare": (
        ("boxcheck compare RUN1 RUN2", "what differs, the gravest first"),
        ("boxcheck compare monday.tar.gz today.tar.gz", "captures too"),
        ("boxcheck compare line/*/attempt-01", "many: a table for each quantity"),
        ("boxcheck compare before.tar.gz after.tar.gz --fail-on-change", "for a script"),
    ),
    "yield": (
        ("boxcheck yield", "of the attempts that lie here"),
        ("boxcheck yield line --since 30d --by station", "of all stations"),
        ("boxcheck yield line --csv yield.csv", "for a spreadsheet"),
    ),
    "runs": (
        ("boxcheck runs", ""),
        ("boxcheck runs --state crashed --since 7d", ""),
    ),
    "runs show": (
        ("boxcheck runs show RUN -v", ""),
    ),
    "runs prune": (
        ("boxcheck runs prune --older-than 90d --dry-run", ""),
        ("boxcheck runs prune --keep 20 --yes", ""),
    ),
    "runs salvage": (
        ("boxcheck runs salvage RUN --out saved.sqlite", ""),
    ),
    "report": (
        ("boxcheck report RUN --html report.html", ""),
        ("boxcheck report verify FOLDER", ""),
    ),
    "report render": (
        ("boxcheck report RUN --html report.html --pdf report.pdf", ""),
        ("boxcheck report RUN --csv telemetry.csv", ""),
    ),
    "report sign": (
        ("boxcheck report sign FOLDER --key ~/.config/boxcheck/keys/acceptance", ""),
        ("boxcheck report sign FOLDER --agent", "through ssh -A, on the box"),
    ),
    "report verify": (
        ("boxcheck report verify FOLDER --allowed-signers makers.txt", ""),
    ),
    "keys": (
        ("boxcheck keys", ""),
        ("boxcheck keys new", "on the station that signs"),
    ),
    "keys new": (
        ("boxcheck keys new acceptance --comment quality@maker.example", ""),
    ),
    "keys allow": (
        ("boxcheck keys allow acceptance.pub quality@maker.example --add", ""),
    ),
    "demo": (
        ("boxcheck demo", "what there is"),
        ("boxcheck demo doctor wopr", "a box with a bad riser"),
    ),
    "demo doctor": (
        ("boxcheck demo doctor tinybox-red", ""),
    ),
    "demo tui": (
        ("boxcheck demo tui --speed 30", ""),
    ),
    "demo report": (
        ("boxcheck demo report --html demo.html", ""),
    ),
    "demo triage": (
        ("boxcheck demo triage -v", ""),
    ),
    "demo riser": (
        ("boxcheck demo riser", ""),
    ),
}
"""By the words of a command, and none for `boxcheck` alone: what to type, and what it is for, which may be empty."""

COLUMNS = 76
"""What lines of a page of help hold, indented as they are, in a terminal of 80."""


def epilog(command: str) -> str | None:
    """The text that help ends with; None for a command that has no example."""
    examples = EXAMPLES.get(command)
    if examples is None:
        return None
    # As many purposes stand below one another as leave room for all; longer commands push their own to the right.
    for width in sorted({len(words) for words, _ in examples}, reverse=True):
        lines = [f"  {words:<{width}}  {purpose}".rstrip() for words, purpose in examples]
        if max(map(len, lines)) <= COLUMNS:
            break
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *lines])


def add_examples(app: typer.Typer, begun: str = "") -> None:
    """Gives every command and group of `app` its examples."""
    if not begun:
        app.info.epilog = epilog("")
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__.replace("_", "-") if command.callback else "")
        command.epilog = epilog(f"{begun} {name}".strip())
    for group in app.registered_groups:
        if group.typer_instance is not None and group.name:
            group.epilog = epilog(f"{begun} {group.name}".strip())
            add_examples(group.typer_instance, f"{begun} {group.name}".strip())
