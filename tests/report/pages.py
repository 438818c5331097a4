"""What tests ask of a page: a strict parse, its structure, its words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from itertools import pairwise

VOID = ("meta", "col", "br", "hr")
ALLOWED = frozenset((
    "html", "head", "meta", "title", "style", "body", "main", "nav", "footer", "h1", "h2", "h3", "p", "ul", "ol", "li", "dl",
    "dt", "dd", "div", "span", "b", "strong", "code", "bdi", "a", "table", "caption", "colgroup", "col", "thead", "tbody", "tr",
    "th", "td", "figure", "figcaption", "svg", "desc", "path", "rect", "text", "defs", "pattern", "details", "summary"))
ATTRIBUTES = frozenset((
    "lang", "charset", "http-equiv", "content", "name", "id", "class", "style", "href", "scope", "role", "tabindex",
    "aria-label", "aria-labelledby", "aria-hidden", "focusable", "viewBox", "width", "height", "x", "y", "d", "stroke-width",
    "font-size", "text-anchor", "fill", "patternUnits", "patternTransform"))
STYLES = re.compile(r"width:[\d.]+%|position:absolute")


def parsed(page: str) -> ET.Element:
    """By the strictest parser that there is: as XML, which ends at the first mistake."""
    assert page.startswith("<!DOCTYPE html>\n")
    body = page.removeprefix("<!DOCTYPE html>\n")
    body = re.sub(rf"<({'|'.join(VOID)})\b([^<>]*)>", r"<\1\2/>", body)
    return ET.fromstring(body)


def check(page: str) -> ET.Element:
    """Its structure, by what HTML and accessibility ask for."""
    tree = parsed(page)
    assert tree.tag == "html"
    assert tree.get("lang")
    ids = [one.get("id") for one in tree.iter() if one.get("id")]
    assert len(ids) == len(set(ids)), "ids are unique"
    for one in tree.iter():
        assert one.tag in ALLOWED, one.tag
        assert set(one.attrib) <= ATTRIBUTES, one.attrib
        assert STYLES.fullmatch(one.get("style", "width:0%")), one.get("style")
        for id in one.get("aria-labelledby", "").split():
            assert id in ids
        if one.tag == "a":
            assert one.get("href", "")[1:] in ids, one.get("href")
            assert one.get("href", "").startswith("#")
        if one.tag == "svg" and one.get("aria-hidden") != "true":
            assert [child.tag for child in one[:2]] == ["title", "desc"]
            assert all((child.text or "").strip() for child in one[:2])
        if one.tag == "th":
            assert one.get("scope") in ("col", "row")
            assert text_of(one).strip(), "a head has words"
    assert len(tree.findall(".//main")) == 1
    assert len(tree.findall(".//h1")) == 1
    for table in tree.iter("table"):
        assert table.find("caption") is not None
        width = len(table.findall("thead/tr/*"))
        assert width
        assert all(len(row) == width for row in table.findall("tbody/tr")), text_of(table.find("caption"))
        assert table.findall("tbody/tr"), "no table is empty"
    levels = [int(one.tag[1]) for one in tree.iter() if one.tag in ("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no level is left out"
    return tree


def text_of(element: ET.Element | None) -> str:
    return "" if element is None else "".join(element.itertext())


def tables(tree: ET.Element) -> Iterator[tuple[str, list[list[str]]]]:
    """Captions, and the words of all rows."""
    for table in tree.iter("table"):
        yield text_of(table.find("caption")), [[text_of(cell) for cell in row] for row in table.findall("tbody/tr")]


def table(tree: ET.Element, caption: str) -> list[list[str]]:
    """The first whose caption begins so."""
    return next(rows for name, rows in tables(tree) if name.startswith(caption))


def facts(tree: ET.Element) -> dict[str, str]:
    """Names and values of the first list of facts."""
    found: dict[str, str] = {}
    name = ""
    first = tree.find(".//dl")
    for one in first if first is not None else ():
        if one.tag == "dt":
            name = text_of(one)
        else:
            found[name] = text_of(one)
    return found


def words(page: str) -> str:
    """All that is read, without markup."""
    body = page.partition("</head>")[2]
    return unescape(re.sub(r"<[^>]*>", " ", body))
