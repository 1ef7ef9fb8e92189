"""`zonebridge usage -o html`: what was seen between zones and by which rule, as a page that hostile names don't steer."""

from dataclasses import replace
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given
from hypothesis import strategies as st

from bridge.evidence.seen import Evidence
from bridge.evidence.usage import unused, usage
from bridge.pages import drawing, page_html, usage_page
from bridge.pages.policy_matrix import PolicyMatrix
from bridge.pages.seen_matrix import SeenMatrix
from tests.bridge.evidence.rows import NOON, counting, flow
from tests.bridge.pages.companies import HOSTILE, MARKUP, many_zones
from tests.strategies import INTERZONE, INTRAZONE, policies
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.seen import SeenEnd
from zones.zone import QUARANTINE, Zoning

DAY = timedelta(days=1)
NOW = NOON + 100 * DAY


def entry(name, verdict=Verdict.ALLOW, **zones):
    ends = {key: frozenset({zone}) for key, zone in zones.items()}
    return Entry(Origin(name, f"uuid {name}", "pre", name), verdict, **ends)


WEB, IDLE = entry("web", from_zones="web", to_zones="data"), entry("idle", from_zones="web", to_zones="mail")
POLICY = Policy(Zoning(), (), (WEB, IDLE, INTRAZONE, INTERZONE), frozenset({"ops"}))


def seen(rule=WEB, connections=1, from_zone="web", to_zone="data", workload="front", **more):
    ends = SeenEnd(from_zone, "shop", workload), SeenEnd(to_zone, "shop", "db")
    at = NOW - DAY
    return flow(connections, rule=rule.origin, verdict=rule.verdict, source=ends[0], destination=ends[1], at=at, **more)


def used(*flows, policy=POLICY):
    nodes = {"n1": replace(counting(NOW), since=NOON, missed=4), "n2": replace(counting(NOW), since=NOON)}
    return usage(policy, Evidence(flows, nodes), {}, NOW)


def cell(matrix, from_zone, to_zone):
    row, column = (matrix.places.get(zone, matrix.other) for zone in (from_zone, to_zone))
    return matrix.classes[matrix.cells[row][column]].key, matrix.counts[row][column]


def test_a_cell_counts_what_was_accepted_and_tells_what_was_never_used():
    flows = [seen(connections=7), seen(connections=5, workload="shop"), seen(INTERZONE, 900, "ops", "data")]
    flows += [
        seen(INTERZONE, 3, "web", "data"),
        seen(WEB, 0, "web", "web", living=2),
        seen(INTERZONE, 1, "ops", QUARANTINE),
    ]
    flows += [seen(WEB, 4, "gone-1", "gone-2"), seen(WEB, 4, "gone-3", "gone-2")]
    matrix = SeenMatrix(POLICY, flows)
    assert cell(matrix, "web", "data") == ("part2", 12)
    assert cell(matrix, "web", "mail") == ("exceptions", 0)
    assert cell(matrix, "ops", "data") == ("denied", 0)
    assert cell(matrix, "ops", QUARANTINE) == ("denied", 0)
    assert cell(matrix, "mail", "data") == ("closed", 0)
    assert cell(matrix, "web", "web") == ("part1", 2), "two live that began before they were counted"
    assert cell(matrix, "gone-1", "gone-2") == ("part1", 8), "zones that are in no policy any more"
    words = {row.cells[0].text: [each.text for each in row.cells[1:]] for row in matrix.in_words().rows}
    assert words["web"] == ["data (12), itself (2)", "mail", ""]
    assert matrix.seen()["seen"][f"{matrix.places['web']},{matrix.places['data']}"][0][0][0] == "shop/front → shop/db"


@given(
    policies(),
    st.lists(st.tuples(*[st.sampled_from(["web", "data", "who"])] * 2, st.sampled_from(Verdict), st.integers(0, 9))),
)
def test_every_accepted_connection_is_in_one_cell(policy, kinds):
    flows = [seen(entry("x", verdict), many, begin, end) for begin, end, verdict, many in kinds]
    matrix = SeenMatrix(policy, flows)
    assert sum(map(sum, matrix.counts)) == sum(many for *_, verdict, many in kinds if verdict is Verdict.ALLOW)
    plain = PolicyMatrix(policy)
    for row, numbers in enumerate(matrix.cells):
        for column, number in enumerate(numbers):
            never_used = matrix.classes[number].key == "exceptions"
            assert not never_used or plain.classes[plain.cells[row][column]].key not in {"closed", "denied"}


def test_the_page_says_what_the_table_says():
    counts = used(seen(connections=1234), seen(replace(WEB, origin=Origin("old", "uuid old", "pre", "k8s")), 2))
    page = usage_page(counts, counts.rules, POLICY)
    assert page.headline.text == "1 of 4 rules were hit"
    assert page.headline.lines[0].startswith("Counted on 2 nodes: on all of them since 2026-03-02 12:00")
    assert "4 connections ended faster than nodes heard" in page.headline.lines[1]
    rows = {row.cells[0].text: row for row in page.tables[0].rows}
    assert [rows["web"].cells[2].text, rows["web"].choices] == ["1,234", ("hit", "broader than seen")]
    assert rows["idle"].cells[-1].text == "not hit for 100 d, as far as is known"
    assert rows["old"].choices == ("hit", "no longer in force")
    assert {figure.label: figure.value for figure in page.figures}["connections accepted"] == "1,236"
    assert [[cell.text for cell in row.cells][:4] for row in page.tables[2].rows] == [
        [name, "2026-03-02 12:00", "2026-06-10 12:00", missed] for name, missed in (("n1", "4"), ("n2", "0"))
    ]


def test_only_what_was_not_hit_for_so_long_is_listed_and_the_matrix_is_of_all():
    counts = used(seen())
    page = usage_page(counts, unused(counts, 90 * DAY), POLICY, "90d")
    assert page.headline.text == "1 of 2 rules were not hit for 90d"
    assert [row.cells[0].text for row in page.tables[0].rows] == ["idle"]
    assert sum(map(sum, page.matrix.counts)) == 1


def test_where_no_node_counts_nothing_is_claimed():
    nothing = usage(POLICY, Evidence(), {}, NOW)
    page = usage_page(nothing, nothing.rules, POLICY)
    assert page.headline.text == "Nothing is known of what rules are used for"
    assert page.tables[2].rows == []


def test_two_hundred_zones_with_thirty_thousand_kinds_of_connections_stay_a_page_to_mail():
    policy = many_zones().policy
    flows = [
        seen(
            policy.entries[0],
            5,
            f"zone-{number % 200}",
            f"zone-{number // 200 % 200}",
            f"app-{number}",
            port=number % 60000,
        )
        for number in range(30_000)
    ]
    counts = used(*flows, policy=policy)
    text = page_html(usage_page(counts, counts.rules, policy))
    assert len(text) < 12_000_000


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (1000, "1k"), (99_999, "99k"), (2_345_678, "2M"), (7, "7")])
def test_large_numbers_fit_into_a_cell(number, text):
    assert drawing.short_number(number) == text


@pytest.fixture
def path(tmp_path):
    """The page of rules, zones, workloads and nodes of every hostile name."""
    rules = [entry(name, from_zones=name, to_zones=MARKUP) for name in HOSTILE]
    policy = Policy(Zoning(), (), (*rules, INTRAZONE, INTERZONE), frozenset(HOSTILE))
    flows = [seen(rule, 1500, name, MARKUP, workload=name) for rule, name in zip(rules, HOSTILE, strict=True)][1:]
    flows.append(seen(rules[1], 150_000, HOSTILE[1], HOSTILE[1]))
    flows += [seen(INTERZONE, 3, "mail", name) for name in HOSTILE]
    seen_by = {name: replace(counting(NOW), since=NOON) for name in HOSTILE}
    counts = usage(policy, Evidence(tuple(flows), seen_by), {}, NOW)
    made = tmp_path / "usage.html"
    made.write_text(page_html(usage_page(counts, counts.rules, policy)))
    return made


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_the_browser_a_cell_opens_what_was_seen_and_names_are_text(visit, path, scheme):
    page = visit(path, color_scheme=scheme)
    page.locator(".cells [role=gridcell]").wait_for()
    page.locator("select[name=from]").select_option(label=HOSTILE[2])
    page.locator("select[name=to]").select_option(label=MARKUP)
    assert page.locator("#pair p").first.inner_text() == "1,500 connections were accepted."
    (row,) = page.locator("#pair .seen tbody tr").all_inner_texts()
    assert f"shop/{HOSTILE[2]} → shop/db" in row
    assert "1,500" in row
    assert "1,500 hits in all" in page.locator("#pair .rules tbody tr").first.inner_text()
    numbers = """() => [...document.querySelectorAll(".cells .count")].map((each) => [
        each.textContent, each.getBBox().width])"""
    assert {text for text, _ in page.evaluate(numbers)} == {"1k", "150k"}
    assert all(width <= 20 for _, width in page.evaluate(numbers)), "no number is wider than its cell"
    page.locator("select[name=to]").select_option(label=HOSTILE[2])
    assert page.locator("#pair .seen").count() == 0
    page.locator("select[name=from]").select_option(label=MARKUP)
    page.locator("select[name=to]").select_option(label=MARKUP)
    assert page.locator("#pair p").first.inner_text().startswith("rules allow something, and no connection was seen")
    page.locator("#pair a", has_text=MARKUP).first.click()
    assert MARKUP in page.locator("tr:target").inner_text()
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.querySelectorAll('[onload], [onerror], img').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    grave = [each for each in Axe().run(page).response["violations"] if each["impact"] in {"serious", "critical"}]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in grave] == []


@pytest.mark.browser
def test_the_keyboard_opens_a_cell_and_the_filter_shows_what_was_not_hit(visit, path):
    page = visit(path)
    cell = page.locator(".cells [role=gridcell]")
    cell.wait_for()
    cell.focus()
    for key in ("Control+Home", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.id") == "pair"
    form = page.locator("form.filter[data-for=rules]")
    form.locator("select").select_option("not hit")
    page.wait_for_function("document.querySelector('[data-for=rules] output').textContent.includes(' of ')")
    shown = page.locator("#rules tbody tr:not([hidden]) td:first-child").all_inner_texts()
    assert [text.split("\n")[0] for text in shown] == [MARKUP, "intrazone-default"]
    page.emulate_media(media="print")
    assert page.locator("#nodes table").is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
