"""Links between documents lead somewhere."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("config/**/*.md")])


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    return {anchor(each) for each in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda each: str(each.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, part = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{target}: there is no such file"
        if part and other.suffix == ".md":
            assert part in anchors(other), f"{target}: there is no such heading"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name}" in index, page.name


def test_the_files_that_the_architecture_names_are_there():
    """Whole paths by themselves; a bare name somewhere in the product."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    names = {each.name for top in ("bridge", "enforcer", "zones") for each in (ROOT / top).rglob("*.py")}
    paths = set(re.findall(r"\b(?:bridge|enforcer|zones|mocks|tests)/[\w/]*[\w.]*\w", page))
    assert len(paths) > 40
    assert [each for each in sorted(paths) if not (ROOT / each).exists() and not in_a_package(each)] == []
    assert sorted(set(re.findall(r"(?<![\w/])\w+\.py\b", page)) - names) == []


def in_a_package(path):
    """`reports/intake.py` after its package was named once: under the enforcer or the bridge."""
    return any((ROOT / top / path).exists() for top in ("bridge", "enforcer"))


def test_the_workflow_runs_targets_that_are_there():
    makefile = (ROOT / "Makefile").read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yaml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = {command.rpartition("make ")[2] for command in commands}
    assert targets == {"quick", "test", "release"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
