"""The page in a browser: it loads nothing, nothing in it acts, and what there is to do comes first."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from bridge.pages import page_html, posture_page
from tests.bridge.posture.cases import bound, granted, pod
from tests.bridge.posture.test_forms import EXCEPTION, HOSTILE, report

pytestmark = pytest.mark.browser


@pytest.fixture
def page_file(tmp_path):
    objects = [
        *granted("vault-sync", ["get"], ["secrets"]),
        pod("strong", context={"privileged": True}),
        bound(HOSTILE, "vault-sync"),
    ]
    path = tmp_path / "posture.html"
    path.write_text(page_html(posture_page(report(*objects, exceptions=[EXCEPTION]))))
    return path


def test_what_fails_comes_first_and_nothing_acts(visit, page_file):
    page = visit(page_file)
    assert page.locator("#checks tbody tr").first.inner_text().count("fail")
    assert HOSTILE in page.locator("#objects").inner_text()
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in {"serious", "critical"}] == []


def test_the_filter_shows_what_is_asked_for(visit, page_file):
    page = visit(page_file)
    page.get_by_label("Show").first.select_option("fail")
    shown = [row for row in page.locator("#checks tbody tr").all() if row.is_visible()]
    assert shown
    assert all("fail" in row.inner_text() for row in shown)


def test_on_a_narrow_screen_nothing_scrolls_sideways(visit, page_file):
    page = visit(page_file, viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
