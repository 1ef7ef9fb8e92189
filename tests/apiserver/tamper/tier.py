"""Attempts on the tier's own objects and on what nodes report."""

from tests.apiserver.tamper.attempt import OURS, Attempt, By, apply, delete, merge, post, put
from tests.apiserver.tamper.people import ANYBODY, DEVELOPER, ENFORCER, LOOSE_ENFORCER, OPERATOR, OWNER, ours, tier

LIVE = tier()
(CHUNK,) = (part for part in LIVE.parts if part["kind"] == "PolicyChunk")
NEW = tier(2, "allow everything")
TIER, CHUNKS, SETS = f"{OURS}/tiers/panorama", f"{OURS}/policychunks", f"{OURS}/addresssets"
EVERYTHING = ours("AddressSet", "panorama-mine", {"prefixes": ["0.0.0.0/0"]})
OTHER = NEW.tier | {"metadata": {"name": "mine"}}
STATE = ours("NodeState", "n3", {})
IN_SYNC = {"status": {"tier": "panorama", "revision": 9, "problems": []}}
ANOTHER_CHUNK = next(part for part in NEW.parts if part["kind"] == "PolicyChunk")

ZONE = ours("Zone", "mine", {"zone": "mine", "known": True})
SLICES = f"{OURS}/podslices"


def of_node(name: str, node: str) -> dict:
    return ours("PodSlice", name, {"node": node, "pods": []})


LENDING = of_node("panorama-mine", "n1")

ATTEMPTS = (
    Attempt("developer-creates-tier", DEVELOPER, "create a Tier", By.RBAC, (post(f"{OURS}/tiers", OTHER),)),
    Attempt("developer-patches-tier", DEVELOPER, "patch the Tier", By.RBAC, (merge(TIER, {"spec": {"revision": 2}}),)),
    Attempt("owner-replaces-tier", OWNER, "replace the Tier; every right in a namespace doesn't reach it", By.RBAC, (put(TIER, NEW.tier),)),
    Attempt("owner-deletes-parts", OWNER, "delete PolicyChunks and AddressSets", By.RBAC, (delete(f"{CHUNKS}/{CHUNK['metadata']['name']}"), delete(SETS), delete(CHUNKS))),
    Attempt("pod-writes-tier", ANYBODY, "write the Tier with its service account's token", By.RBAC, (merge(TIER, {"spec": {"revision": 2}}),)),
    Attempt("operator-creates-tier", OPERATOR, "create a Tier", By.TIER, (post(f"{OURS}/tiers", OTHER),), "written by zonebridge alone"),
    Attempt("operator-patches-tier", OPERATOR, "patch the Tier's spec", By.TIER, (merge(TIER, {"spec": {"revision": 2}}),), "tiers are written"),
    Attempt("operator-replaces-tier", OPERATOR, "replace the Tier by a valid newer revision", By.TIER, (put(TIER, NEW.tier),)),
    Attempt("operator-applies-tier", OPERATOR, "server-side apply with `--force-conflicts`", By.TIER, (apply(TIER, NEW.tier),)),
    Attempt("operator-labels-tier", OPERATOR, "`kubectl label`, `kubectl annotate` the Tier", By.TIER, (merge(TIER, {"metadata": {"labels": {"a": "b"}}}), merge(TIER, {"metadata": {"annotations": {"a": "b"}}}))),
    Attempt("operator-disowns-tier", OPERATOR, "have the Tier collected: an owner that is gone, a finalizer", By.TIER, (merge(TIER, {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}]}}), merge(TIER, {"metadata": {"finalizers": ["example.com/stay"]}}))),
    Attempt("operator-patches-tier-status", OPERATOR, "patch `tiers/status`, so that trouble looks well", By.TIER, (merge(f"{TIER}/status", {"status": {"nodes": {"total": 1, "inSync": 1}}}),)),
    Attempt("operator-deletes-tier", OPERATOR, "delete the Tier", By.TIER, (delete(TIER),)),
    Attempt("operator-deletes-all-tiers", OPERATOR, "`deletecollection` of Tiers", By.TIER, (delete(f"{OURS}/tiers"),)),
    Attempt("operator-creates-chunk", OPERATOR, "create a PolicyChunk with an allow for everything", By.TIER, (post(CHUNKS, ANOTHER_CHUNK),)),
    Attempt("operator-deletes-chunk", OPERATOR, "delete a PolicyChunk", By.TIER, (delete(f"{CHUNKS}/{CHUNK['metadata']['name']}"),), "policychunks are written"),
    Attempt("operator-deletes-all-chunks", OPERATOR, "`deletecollection` of PolicyChunks by the tier's label", By.TIER, (delete(f"{CHUNKS}?labelSelector=zonebridge.io/tier=panorama"),)),
    Attempt("operator-relabels-chunk", OPERATOR, "take the tier's label from a PolicyChunk", By.TIER, (merge(f"{CHUNKS}/{CHUNK['metadata']['name']}", {"metadata": {"labels": {"zonebridge.io/tier": None}}}),)),
    Attempt("operator-creates-set", OPERATOR, "create an AddressSet of every address", By.TIER, (post(SETS, EVERYTHING),)),
    Attempt("owner-lends-addresses", OWNER, "create a PodSlice that puts addresses into a zone", By.RBAC, (post(f"{OURS}/podslices", LENDING),)),
    Attempt("operator-lends-addresses", OPERATOR, "create a PodSlice that puts addresses into a zone, delete those that are there", By.SLICES, (post(f"{OURS}/podslices", LENDING), delete(f"{OURS}/podslices/panorama-n1"), delete(f"{OURS}/podslices"))),
    Attempt("enforcer-tells-of-another-nodes-pods", ENFORCER, "write a PodSlice of another node's pods, or one that another node would write, with an enforcer's token, from a node that was taken", By.SLICES, (post(SLICES, of_node("0.n2", "n2")), apply(f"{SLICES}/0.n2", of_node("0.n2", "n2")), post(SLICES, of_node("0.n2", "n1")), post(SLICES, of_node("0.n1", "n2")), post(SLICES, of_node("0.0.n1", "n1")), post(SLICES, of_node("panorama-mine", "n1"))), "on its node alone"),
    Attempt("enforcer-tells-without-end", ENFORCER, "PodSlices without number, which every other enforcer would keep in memory, from a node that was taken", By.SLICES, (post(SLICES, of_node("32.n1", "n1")), post(SLICES, of_node("100000.n1", "n1")), apply(f"{SLICES}/999999.n1", of_node("999999.n1", "n1")), post(SLICES, of_node("01.n1", "n1"))), "on its node alone"),
    Attempt("enforcer-takes-the-bridges-slices", ENFORCER, "rewrite or delete a PodSlice that the bridge has written", By.SLICES, (merge(f"{SLICES}/panorama-n1", {"spec": {"node": "n1", "pods": []}, "metadata": {"labels": {"a": "b"}}}), delete(f"{SLICES}/panorama-n1"))),
    Attempt("token-without-node-tells-of-pods", LOOSE_ENFORCER, "write a PodSlice with a token of the enforcer's account that names no node", By.SLICES, (post(SLICES, of_node("0.n1", "n1")),)),
    Attempt("developer-invents-zone", DEVELOPER, "create a Zone", By.RBAC, (post(f"{OURS}/zones", ZONE),)),
    Attempt("operator-invents-zone", OPERATOR, "create a Zone, change its status, delete it", By.TIER, (post(f"{OURS}/zones", ZONE), merge(f"{OURS}/zones/web/status", {"status": {"pods": 0}}), delete(f"{OURS}/zones/web"))),
    Attempt("enforcer-writes-tier", ENFORCER, "write the Tier and its parts with an enforcer's token, from a node that was taken", By.RBAC, (merge(TIER, {"spec": {"revision": 2}}), post(CHUNKS, ANOTHER_CHUNK), delete(f"{CHUNKS}/{CHUNK['metadata']['name']}"))),
    Attempt("enforcer-reports-for-another-node", ENFORCER, "write another node's NodeState", By.STATES, (merge(f"{OURS}/nodestates/n2/status", IN_SYNC),), "on that node alone"),
    Attempt("enforcer-invents-a-node", ENFORCER, "create the NodeState of a node that isn't its own", By.STATES, (post(f"{OURS}/nodestates", STATE),)),
    Attempt("token-without-node-reports", LOOSE_ENFORCER, "write a NodeState with a token of the enforcer's account that names no node (`kubectl create token`)", By.STATES, (merge(f"{OURS}/nodestates/n2/status", IN_SYNC), post(f"{OURS}/nodestates", STATE))),
    Attempt("developer-reports-for-a-node", DEVELOPER, "patch `nodestates/status`", By.RBAC, (merge(f"{OURS}/nodestates/n2/status", IN_SYNC),)),
    Attempt("operator-reports-for-a-node", OPERATOR, "patch `nodestates/status`, so that a node seems in sync", By.STATES, (merge(f"{OURS}/nodestates/n2/status", IN_SYNC),)),
    Attempt("operator-deletes-node-state", OPERATOR, "delete a NodeState, or all", By.STATES, (delete(f"{OURS}/nodestates/n2"), delete(f"{OURS}/nodestates"))),
)  # fmt: skip
