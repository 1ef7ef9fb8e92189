"""What shows the configuration of a record's moment: the command, and the site's own address of it. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

from zones.siem.records import Json

_USUAL_TIER = "panorama"
_PLACES = ("cluster", "tier", "revision")


def configuration_of(cluster: str, tier: str, revision: int, link: str | None) -> Json:
    """A record's fields of a revision; none where it isn't known. `link`: one that `checked_link` has let pass."""
    if not revision:
        return {}
    tier_option = "" if tier == _USUAL_TIER else f" --tier {tier}"
    shown: Json = {"revision": revision, "configuration": f"zonebridge show {revision}{tier_option}"}
    if link:
        places = {"cluster": cluster, "tier": tier, "revision": str(revision)}
        shown["configurationUrl"] = link.format_map({name: quote(text, "") for name, text in places.items()})
    return shown


def checked_link(link: str) -> str:
    """An address with places, as the settings have it. Raises ValueError."""
    places = set(re.findall(r"\{([^{}]*)\}", link))
    bare = re.sub(r"\{[^{}]*\}", "", link)
    if not re.match(r"https?://[^/\s]", link) or "{" in bare or "}" in bare or " " in link:
        raise ValueError("must be an address like https://example.com/{cluster}/{tier}/{revision}")
    if unknown := sorted(places.difference(_PLACES)):
        raise ValueError(f"'{{{unknown[0]}}}' is no place; there are {{cluster}}, {{tier}} and {{revision}}")
    return link
