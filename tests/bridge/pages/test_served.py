"""`zonebridge serve` as a person uses it: the browser asks for the password, then status, then a cluster's zones."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

from mocks.kubernetes import KubernetesServer
from tests.enforcer import smallcluster

pytestmark = pytest.mark.browser
PROGRAM = Path(sys.executable).parent / "zonebridge"
TOKEN = "a-token-that-nobody-guesses"
MARKUP = "</script><svg onload=hacked()>"


@pytest.fixture
def served(tmp_path):
    """The address of a running `zonebridge serve` over a cluster with a tier; it ends well when it is told to."""
    with KubernetesServer() as server:
        smallcluster.fill(server)
        smallcluster.publish(server, smallcluster.tier(3, 5432))
        for name, details in (("held-web", {}), ("watched", {"dryRun": True})):
            server.create(smallcluster.quarantine(name, workload="web", reason=MARKUP, **details))
        cluster = {"name": "prod", "deviceGroup": "dg", "kubeconfig": str(server.kubeconfig)}
        (tmp_path / "token").write_text(TOKEN)
        panorama = {"hosts": ["192.0.2.1"], "username": "reader", "passwordFile": str(tmp_path / "token")}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"clusters": [cluster], "panorama": panorama}))
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
    assert all("workload shop/web" in row for row in rows)
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
