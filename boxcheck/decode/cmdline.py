"""The kernel command line, taken apart as the kernel does it.

Blanks separate parameters, double quotes keep them together, `-` and `_` are the same in a name, everything after
`--` belongs to init, and of a parameter given twice both count for some and the last one for most.
Sources: lib/cmdline.c (next_arg), kernel/params.c (parameq, parse_args), Linux' admin-guide/kernel-parameters.rst.

By hand  cat /proc/cmdline
"""

from __future__ import annotations

import msgspec

from boxcheck.decode.text import clean_text

COMMAND_LINE_LIMIT = 1 << 16
"""COMMAND_LINE_SIZE is 4096 at most on the architectures that carry GPUs; more is not a command line."""


def normal_name(name: str) -> str:
    """The name with `-` written `_`, as the kernel compares it (kernel/params.c, dash2underscore)."""
    return name.replace("-", "_")


class Parameter(msgspec.Struct, frozen=True):
    name: str
    """As the kernel compares it: `amdgpu.gttsize`, `pci`, `nvidia_drm.modeset`."""
    value: str | None
    """None for a bare word (`quiet`); quotes are gone."""
    text: str
    """As written, for showing and for searching /etc/default/grub."""

    @property
    def module(self) -> str | None:
        """The module of `module.parameter`, None for a parameter of the kernel itself."""
        head, dot, _ = self.name.partition(".")
        return head if dot else None

    @property
    def parameter(self) -> str:
        """The name without its module."""
        return self.name.partition(".")[2] or self.name


class CommandLine(msgspec.Struct, frozen=True):
    parameters: tuple[Parameter, ...] = ()
    for_init: str = ""
    """What follows `--`."""

    def all(self, name: str) -> tuple[Parameter, ...]:
        """Every parameter of that name, in order. Spelling with `-` or `_` does not matter."""
        wanted = normal_name(name)
        return tuple(parameter for parameter in self.parameters if parameter.name == wanted)

    def last(self, name: str) -> Parameter | None:
        """The one that wins where only one can; None when the command line has none."""
        found = self.all(name)
        return found[-1] if found else None

    def value(self, name: str) -> str | None:
        """Value of the last one; None when it is missing or a bare word."""
        found = self.last(name)
        return None if found is None else found.value

    def has(self, name: str) -> bool:
        return self.last(name) is not None

    def words(self, name: str) -> tuple[str, ...]:
        """The comma-separated words of all values: `pci=noaer,realloc pci=nomsi` gives noaer, realloc, nomsi."""
        return tuple(
            word for parameter in self.all(name) if parameter.value for word in parameter.value.split(",") if word
        )


def _split(text: str) -> list[str]:
    """Words of the line; blanks inside double quotes do not separate."""
    words: list[str] = []
    start: int | None = None
    quoted = False
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        if character.isspace() and not quoted:
            if start is not None:
                words.append(text[start:index])
                start = None
        elif start is None:
            start = index
    if start is not None:
        words.append(text[start:])
    return words


def _unquoted(text: str) -> str:
    """Without one pair of surrounding quotes; next_arg() forgives a missing closing one."""
    if text.startswith('"'):
        text = text[1:]
        return text[:-1] if text.endswith('"') else text
    return text


def _parameter(word: str) -> Parameter:
    # Quotes may stand around the whole word ("name=a b") or around the value alone (name="a b").
    whole = _unquoted(word)
    name, equals, value = whole.partition("=")
    if not equals:
        return Parameter(normal_name(name), None, word)
    return Parameter(normal_name(name), _unquoted(value) if value.startswith('"') else value.removesuffix('"'), word)


def parse_cmdline(text: str) -> CommandLine:
    """The parameters of a command line, in order. Never raises; text beyond 64 KiB is cut."""
    parameters: list[Parameter] = []
    # The kernel's own is one line; in a capture anything may stand, and what is read here is shown.
    words = _split(clean_text(text, COMMAND_LINE_LIMIT).strip())
    for index, word in enumerate(words):
        if word == "--":
            return CommandLine(tuple(parameters), " ".join(words[index + 1:]))
        parameters.append(_parameter(word))
    return CommandLine(tuple(parameters))


_FACTORS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}


def parse_number(value: str | None) -> int | None:
    """A number as kernel and module parameters take it (decimal, 0x hex, 0 octal, sign, K/M/G suffix); else None.

    lib/kstrtox.c and memparse() of lib/cmdline.c.
    """
    if value is None:
        return None
    text = value.strip().lower()[:40]
    negative = text.startswith("-")
    text = text[1:] if text[:1] in ("-", "+") else text
    shift = _FACTORS.get(text[-1:], 0) if not text.startswith("0x") else 0
    digits = text[:-1] if shift else text
    base = 16 if digits.startswith("0x") else 8 if len(digits) > 1 and digits.startswith("0") else 10
    if not digits.isascii() or not digits.replace("x", "", 1).isalnum():
        return None
    try:
        number = int(digits, base)
    except ValueError:
        return None
    return (-number if negative else number) << shift
