"""Attempts on the history: what was published when, and by whose commit."""

from tests.apiserver.tamper.attempt import OURS, Attempt, By, apply, delete, get, merge, patch, post, put
from tests.apiserver.tamper.people import (
    ADMINISTRATOR,
    ANYBODY,
    DEVELOPER,
    ENFORCER,
    KEPT,
    OPERATOR,
    OWNER,
    RECORD,
    STOLEN,
)

REVISIONS = f"{OURS}/revisions"
FIRST = f"{REVISIONS}/panorama-1"
FORGED = RECORD | {"metadata": {"name": "panorama-2", "labels": {"zonebridge.io/tier": "panorama"}}}
ANOTHER = RECORD | {"spec": RECORD["spec"] | {"causes": ["repair"]}}
BY_BOB = {"spec": {"commits": [{"job": 1, "type": "Commit", "administrator": "bob"}]}}
WELL = {"status": {"changes": {"pairsOpened": 0, "pairsClosed": 0}}}
OWNED = {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}]}}

ATTEMPTS = (
    Attempt("developer-forges-revision", DEVELOPER, "create a Revision", By.RBAC, (post(REVISIONS, FORGED),)),
    Attempt("owner-changes-history", OWNER, "change a Revision, its status, delete it", By.RBAC, (merge(FIRST, BY_BOB), merge(f"{FIRST}/status", WELL), delete(FIRST))),
    Attempt("pod-reads-history", ANYBODY, "read who committed what, with its service account's token", By.RBAC, (get(REVISIONS), get(FIRST))),
    Attempt("enforcer-writes-history", ENFORCER, "create, change and delete Revisions with an enforcer's token, from a node that was taken", By.RBAC, (post(REVISIONS, FORGED), merge(FIRST, BY_BOB), delete(FIRST), delete(REVISIONS))),
    Attempt("operator-forges-revision", OPERATOR, "create a Revision that never was published", By.TIER, (post(REVISIONS, FORGED),), "revisions are written"),
    Attempt("operator-changes-revision", OPERATOR, "change who committed a Revision, by merge and by JSON patch", By.KIND, (merge(FIRST, BY_BOB), patch(FIRST, {"op": "replace", "path": "/spec/recorded", "value": "2025-01-01T00:00:00Z"})), "a Revision never changes"),
    Attempt("operator-replaces-revision", OPERATOR, "replace a Revision by another of its number; server-side apply with `--force-conflicts`", By.KIND, (put(FIRST, ANOTHER), apply(FIRST, ANOTHER)), "a Revision never changes"),
    Attempt("operator-applies-revision", OPERATOR, "server-side apply of a Revision that never was published", By.TIER, (apply(f"{REVISIONS}/panorama-2", FORGED),)),
    Attempt("operator-labels-revision", OPERATOR, "take a Revision's label, by which the history is found; annotate it", By.TIER, (merge(FIRST, {"metadata": {"labels": {"zonebridge.io/tier": None}}}), merge(FIRST, {"metadata": {"annotations": {"a": "b"}}}))),
    Attempt("operator-disowns-revision", OPERATOR, "have a Revision collected: an owner that is gone; keep it from being let go by a finalizer", By.TIER, (merge(FIRST, OWNED), merge(FIRST, {"metadata": {"finalizers": ["example.com/stay"]}}))),
    Attempt("operator-embellishes-revision", OPERATOR, "patch `revisions/status`, so that nothing seems to have been opened", By.TIER, (merge(f"{FIRST}/status", WELL),)),
    Attempt("operator-deletes-revision", OPERATOR, "delete a Revision", By.TIER, (delete(FIRST),)),
    Attempt("operator-deletes-history", OPERATOR, "`deletecollection` of Revisions, of all and by label", By.TIER, (delete(REVISIONS), delete(f"{REVISIONS}?labelSelector=zonebridge.io/tier=panorama"))),
    Attempt("operator-deletes-kept-parts", OPERATOR, "`deletecollection` of the parts that only the history has", By.TIER, (delete(f"{OURS}/policychunks?labelSelector=zonebridge.io/history=panorama,!zonebridge.io/tier"), delete(f"{OURS}/policychunks/{KEPT['metadata']['name']}")), "policychunks are written"),
    Attempt("break-glass-changes-revision", ADMINISTRATOR, "change a Revision with every right there is, `override` too", By.KIND, (merge(FIRST, BY_BOB), put(FIRST, ANOTHER), patch(FIRST, {"op": "replace", "path": "/spec/chain", "value": "0" * 64})), "a Revision never changes"),
    Attempt("bridge-changes-revision", STOLEN, "change a Revision with the bridge's own token: it may record and let go, and change nothing", By.RBAC, (merge(FIRST, BY_BOB), put(FIRST, ANOTHER), apply(FIRST, ANOTHER), delete(REVISIONS))),
)  # fmt: skip
