"""`zonebridge status -o html`: what it says, and in the browser, where clusters and problems may have any name."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from bridge.pages import page_html, status_page
from tests.bridge.pages.companies import HOSTILE, MARKUP


def value(name, problem="", nodes=(3, 3)):
    counts = {"total": nodes[0], "inSync": nodes[1]}
    about = {"cluster": name, "device_group": f"group {name}", "tier": "panorama", "revision": None if problem else 7}
    return about | {"ready": not problem, "nodes": counts, "last_sync": None, "problem": problem}


def test_the_headline_says_whether_all_is_well():
    well = status_page([value("a"), value("b")])
    assert (well.headline.tone, [figure.value for figure in well.figures]) == ("good", [2, 6, 6])
    ill = status_page([value("a"), value("b", "no answer", (5, 2))])
    assert ill.headline.text == "1 of 2 clusters are not ready"
    assert ill.headline.tone == "bad"
    assert [[cell.text for cell in row.cells] for row in ill.tables[0].rows][1] == [
        "b", "group b", "panorama", "-", "2 of 5", "not ready", "-", "no answer",
    ]  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_the_browser_names_are_text_and_the_filter_and_axe_are_content(visit, tmp_path, scheme):
    path = tmp_path / "status.html"
    path.write_text(page_html(status_page([value(name, problem) for name in HOSTILE for problem in ("", name)])))
    page = visit(path, color_scheme=scheme)
    form = page.locator("form.filter[data-for=clusters]")
    form.locator("select").select_option("not ready")
    page.wait_for_function(f"document.querySelector('output').textContent === '{len(HOSTILE)} of {2 * len(HOSTILE)}'")
    assert MARKUP in page.locator("#clusters tbody").inner_text()
    assert page.evaluate("document.querySelectorAll('[onload], [onerror], img').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    grave = [each for each in Axe().run(page).response["violations"] if each["impact"] in {"serious", "critical"}]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in grave] == []
    page.emulate_media(media="print")
    assert page.locator("form.filter:visible").count() == 0
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
