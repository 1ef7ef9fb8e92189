"""A report as a page in the browser: nothing is loaded, nothing fails, and hostile names stay text; on paper too."""

from bridge.pages import page_html
from bridge.reports.page import report_page
from tests.bridge.reports.test_report import HOSTILE, evidence, made, policy
from tests.bridge.world import rule


def written(folder, report):
    path = folder / "report.html"
    path.write_text(page_html(report_page(report)))
    return path


def test_every_section_is_on_the_page_and_nothing_is_loaded(visit, tmp_path):
    report = made()
    page = visit(written(tmp_path, report))
    titles = [page.locator(f"#{section.key}-title").inner_text() for section in report.sections]
    assert titles == [section.title for section in report.sections]
    assert page.locator("#rules").inner_text().count("card payments") == 1
    assert "1 of 2 nodes did not enforce at the end" in page.locator("body").inner_text()


def test_hostile_names_run_nothing(visit, tmp_path):
    hostile = rule(HOSTILE, from_zones=frozenset({"web"}), to_zones=frozenset({"cde"}))
    page = visit(written(tmp_path, made(evidence(policy=policy(hostile)))))
    assert page.locator("svg[onload]").count() == 0
    assert page.locator("#rules tbody tr").count() == 3


def test_on_paper_every_row_is_there_and_no_filter(visit, tmp_path):
    page = visit(written(tmp_path, made()))
    page.emulate_media(media="print")
    assert page.locator("form.filter:visible").count() == 0
    assert page.locator("#limits tbody tr:visible").count() == page.locator("#limits tbody tr").count() > 5
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
