"""Pages as files, and the browser that opens them: the system's Chromium, which loads nothing from anywhere."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from bridge.pages import compile_page, page_html, preview_page
from tests.bridge.pages import companies


@pytest.fixture(scope="package")
def browser():
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: install Debian's chromium")
    with sync_playwright() as playwright:
        # As root, and in a network without anything: its sandbox and its services can't be had.
        arguments = ["--no-sandbox", "--disable-gpu"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def files(tmp_path_factory):
    """The pages of the companies, each written once."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    pages = {
        name: compile_page(getattr(companies, name)(), companies.DEVICE_GROUP)
        for name in ("company", "hostile", "many_zones")
    }
    pages |= {name: preview_page(getattr(companies, name)()) for name in ("changed_company", "hostile_preview")}
    for name, page in pages.items():
        made[name] = folder / f"{name}.html"
        made[name].write_text(page_html(page))
    return made


@pytest.fixture
def visit(browser, files):
    """Open a page and wait until all of it is there. At the end nothing may have been asked of a network, refused by
    the policy, or have failed."""
    contexts, trouble = [], []

    def go(name, until="load", **options):
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith("file:") or trouble.append(request.url))
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(dialog.message))
        page.goto(files.get(name, name).as_uri(), wait_until=until)
        return page

    yield go
    for context in contexts:
        context.close()
    assert trouble == []
