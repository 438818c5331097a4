"""Two themes. The four colours of outcomes stay apart for people who do not tell red from green: blue, amber,
vermilion, purple (after Okabe and Ito's set, lightened for dark ground). Contrast with the ground at least 4.5 to 1."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="boxcheck-dark", primary="#5AB4F0", secondary="#8FA3B0", accent="#5AB4F0", foreground="#E6E9EC",
    background="#101418", surface="#161B20", panel="#1E252C", dark=True,
    variables={"ok": "#5AB4F0", "marginal": "#F0B72F", "fail": "#FF7B4A", "unknown": "#D58AE0", "quiet": "#8A97A3"})
LIGHT = Theme(
    name="boxcheck-light", primary="#00619E", secondary="#4C5A66", accent="#00619E", foreground="#15191D",
    background="#FBFBFA", surface="#F3F4F4", panel="#E6E9EB", dark=False,
    variables={"ok": "#00619E", "marginal": "#805500", "fail": "#B23200", "unknown": "#8A2F9B", "quiet": "#5A6670"})
