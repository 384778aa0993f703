"""Links between pages lead somewhere, and the index names every page."""

import re

import pytest

from tests.docs.blocks import DOCS, ROOT, name_of, pages

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^(`{3,}).*?^\1[ ]*$", re.MULTILINE | re.DOTALL)


def slug(heading):
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    text = _FENCED.sub("", page.read_text("utf-8"))
    return {slug(found[1]) for found in re.finditer(r"^#+ (.+)$", text, re.MULTILINE)}


def links(page):
    return [link for link in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))) if "://" not in link]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_named_by_the_index():
    named = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md")}
    assert not [name_of(page) for page in pages() if page not in named | {ROOT / "README.md", DOCS / "README.md"}]
