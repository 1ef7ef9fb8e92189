"""`zonebridge serve` as a person uses it: the browser asks for the password, then status, then a cluster's zones."""

import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

from bridge.evidence.database import Database
from bridge.evidence.store import NodeRecord, Store
from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.enforcer import smallcluster
from tests.panorama_xml import config_text, rule, rulebase
from zones.policy import Verdict
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey

pytestmark = pytest.mark.browser
PROGRAM = Path(sys.executable).parent / "zonebridge"
TOKEN = "a-token-that-nobody-guesses"
MARKUP = "</script><svg onload=hacked()>"


ALLOW = smallcluster.ALLOW_WEB
COMMITTED = rule(ALLOW.name, from_="web", to="db")


def counted(url):
    """A day in which the one rule was hit nine times, by a workload of an attacker's name, and a zone was denied."""
    store = Store(Database(url, None))
    store.open()
    now = datetime.now(UTC)
    begin, end = SeenEnd("web", "shop", MARKUP), SeenEnd("db", "shop", "orders")
    keys = [
        (SeenKey(begin, end, 6, 5432, ALLOW, Verdict.ALLOW), 9),
        (SeenKey(end, begin, 6, 22, ALLOW, Verdict.DENY), 2),
    ]
    records = [Counting(now - timedelta(days=1), now - timedelta(minutes=5), now)]
    records += [SeenFlow(key, times, 100, 0, now, now) for key, times in keys]
    store.take("prod", [NodeRecord("n1", number, record) for number, record in enumerate(records, 1)], now)
    store.close()


@pytest.fixture
def panorama():
    config = config_text(groups={"dg": rulebase("pre", COMMITTED)})
    with PanoramaServer(Panorama(config, users={"reader": TOKEN, "admin": "secret"}, read_only=("reader",))) as server:
        yield server


@pytest.fixture
def served(tmp_path, panorama):
    """The address of a running `zonebridge serve` over a cluster with a tier; it ends well when it is told to."""
    url = f"sqlite:///{tmp_path}/evidence.db"
    counted(url)
    with KubernetesServer() as server:
        smallcluster.fill(server)
        smallcluster.publish(server, smallcluster.tier(3, 5432))
        for name in ("web-a", "web-b"):
            owned = smallcluster.pod(name, "10.1.0.77", "web")
            owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}
            owned["metadata"]["ownerReferences"] = [owner]
            smallcluster.add_pod(server, owned)
        for name, details in (("held-web", {}), ("watched", {"dryRun": True})):
            server.create(smallcluster.quarantine(name, workload="web", reason=MARKUP, **details))
        cluster = {"name": "prod", "deviceGroup": "dg", "kubeconfig": str(server.kubeconfig)}
        (tmp_path / "token").write_text(TOKEN)
        asked = {"hosts": [f"127.0.0.1:{panorama.port}"], "caFile": str(panorama.ca_file), "username": "reader"}
        asked["passwordFile"] = str(tmp_path / "token")
        settings = {"clusters": [cluster], "panorama": asked, "evidence": {"url": url}}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
        command = [PROGRAM, "serve", "-c", tmp_path / "settings.yaml", "--token-file", tmp_path / "token"]
        with subprocess.Popen(
            [*map(str, command), "--address", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield re.search(r"http://\S+", process.stdout.readline())[0]
            finally:
                process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_from_the_status_to_a_cell_of_a_cluster(browser, served):
    context = browser.new_context(http_credentials={"username": "admin", "password": TOKEN})
    page = context.new_page()
    trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(served)
    assert "1 of 1 clusters are not ready" in page.locator(".verdict").inner_text()
    page.get_by_role("link", name="prod").click()
    page.locator("h1", has_text="Cluster prod").wait_for()
    page.locator("select[name=from]").select_option("web")
    page.locator("select[name=to]").select_option("db")
    assert "1 rule allows something" in page.locator("#pair p").first.inner_text()
    assert page.locator("#pair a").first.inner_text() == smallcluster.ALLOW_WEB.name
    assert page.locator("#rules tbody tr").count() == 2
    rows = page.locator("#quarantine tbody tr").all_inner_texts()
    assert sorted("in force" in row for row in rows) == [False, True]
    assert all("workload shop/web" in row and "2 pods: web-a, web-b" in row for row in rows)
    page.locator("#quarantine select").select_option("dry run")
    assert page.locator("#quarantine tbody tr:not([hidden])").count() == 1
    assert MARKUP in page.locator("#quarantine tbody").inner_text()
    assert page.evaluate("document.querySelectorAll('[onload]').length") == 0
    page.locator("select[name=from]").select_option("web")
    page.locator("select[name=to]").select_option("quarantine")
    assert page.locator("#pair p").first.inner_text() == "nothing is allowed: a rule denies everything."
    assert page.locator("#pair .rules td:first-child").first.inner_text().startswith("infrastructure/quarantined")
    grave = [each for each in Axe().run(page).response["violations"] if each["impact"] in {"serious", "critical"}]
    assert [each["id"] for each in grave] == []
    page.get_by_role("link", name="All clusters").click()
    page.locator("#clusters").wait_for()
    assert trouble == []
    context.close()


def test_what_rules_are_used_for_and_what_a_candidate_changes(browser, served, panorama):
    context = browser.new_context(http_credentials={"username": "admin", "password": TOKEN})
    page = context.new_page()
    trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(f"{served}clusters/prod")
    page.get_by_role("link", name="Usage of the rules").click()
    page.locator("h1", has_text="Usage of the rules").wait_for()
    row = page.locator("#rules tbody tr", has_text=ALLOW.name)
    assert "11" in row.inner_text()
    page.locator("select[name=from]").select_option("web")
    page.locator("select[name=to]").select_option("db")
    assert MARKUP in page.locator("#pair").inner_text()
    assert page.evaluate("document.querySelectorAll('[onload]').length") == 0
    page.get_by_role("link", name="All clusters").click()
    page.get_by_role("link", name="prod").click()
    page.get_by_role("link", name="Preview of the candidate").click()
    page.locator("h1", has_text="Preview for prod").wait_for()
    assert "nothing would change" in page.locator(".verdict").inner_text()
    assert trouble == []
    context.close()


def test_a_waiting_candidate_is_shown_with_who_edits_and_what_was_seen(browser, served, panorama):
    xpath = "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='dg']/pre-rulebase/security/rules"
    panorama.panorama.set(f"{xpath}/entry[@name='{ALLOW.name}']", "<action>deny</action>", admin="admin")
    context = browser.new_context(http_credentials={"username": "admin", "password": TOKEN})
    page = context.new_page()
    page.goto(f"{served}clusters/prod/preview", timeout=100_000)  # it is worked out in a process of its own
    text = page.locator("main").inner_text()
    assert "admin" in text
    assert "seen connections denied" in text
    assert ALLOW.name in page.locator("#rules").inner_text()
    assert page.evaluate("document.querySelectorAll('[onload]').length") == 0
    grave = [each for each in Axe().run(page).response["violations"] if each["impact"] in {"serious", "critical"}]
    assert [each["id"] for each in grave] == []
    writes = [call for call in panorama.panorama.traffic.calls if call.action not in {"", "show", "get"}]
    assert writes == [], "it only reads"
    page.get_by_role("link", name="All clusters").click()
    page.locator("#clusters").wait_for()
    context.close()
