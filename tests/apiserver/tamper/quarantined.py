"""Attempts on quarantines: to get out of one, to put others into one, and to go around who asks and who approves."""

from tests.apiserver.installed import BRIDGE_NAMESPACE, ENFORCER_NAMESPACE, pod
from tests.apiserver.tamper.attempt import OURS, Attempt, By, apply, delete, merge, post, put
from tests.apiserver.tamper.people import (
    ANYBODY,
    APPROVER,
    DEVELOPER,
    ENFORCER,
    OPERATOR,
    OWNER,
    REQUESTER,
    STOLEN,
    ours,
    quarantine,
)

ALL, CUT, WAITING = f"{OURS}/quarantines", f"{OURS}/quarantines/cut", f"{OURS}/quarantines/waiting"
LABELLED = pod("mine", {"zonebridge.io/zone": "quarantine"})
OTHER_POD = {"namespace": "shop", "name": "web", "uid": "another"}


def of_namespace(name: str) -> dict:
    return quarantine("mine", workload={"namespace": name, "name": "zonebridge"})


def approved(who: str) -> dict:
    return {"spec": {"approvedBy": who}}


ATTEMPTS = (
    Attempt("developer-lifts-a-quarantine", DEVELOPER, "delete the Quarantine of one's pod, or all of them", By.RBAC, (delete(CUT), delete(ALL))),
    Attempt("developer-changes-a-quarantine", DEVELOPER, "make the Quarantine of one's pod a dry run, or a short one", By.RBAC, (merge(CUT, {"spec": {"dryRun": True}}), merge(CUT, {"spec": {"duration": "1s"}}))),
    Attempt("owner-quarantines-a-rival", OWNER, "put another team's workload into quarantine", By.RBAC, (post(ALL, quarantine("mine", OWNER, workload={"namespace": "plain", "name": "db"})),)),
    Attempt("owner-joins-the-quarantine", OWNER, "label a pod with the zone `quarantine`, to be reached by forensic tools' rules", By.ZONES, (post("/api/v1/namespaces/shop/pods", LABELLED),), "no label puts a pod there"),
    Attempt("pod-lifts-its-quarantine", ANYBODY, "the same with the pod's own token", By.RBAC, (delete(CUT), merge(CUT, {"spec": {"dryRun": True}}))),
    Attempt("enforcer-lifts-a-quarantine", ENFORCER, "the same with an enforcer's token, from a node that was taken", By.RBAC, (delete(CUT), merge(CUT, {"spec": {"dryRun": True}}), post(ALL, quarantine("mine")))),
    Attempt("operator-lifts-a-quarantine", OPERATOR, "delete a Quarantine with every usual right, one or all", By.QUARANTINES, (delete(CUT), delete(ALL)), "asked for and ended by the security team"),
    Attempt("operator-quarantines", OPERATOR, "create one", By.QUARANTINES, (post(ALL, quarantine("mine", OPERATOR)), apply(f"{ALL}/mine", quarantine("mine", OPERATOR))), "asked for and ended by the security team"),
    Attempt("operator-shortens-a-quarantine", OPERATOR, "make one a dry run, or let it end sooner, also by `--force-conflicts`", By.QUARANTINES, (merge(CUT, {"spec": {"dryRun": True}}), merge(CUT, {"spec": {"duration": "1s"}}), apply(CUT, quarantine("cut", duration="1s")), put(CUT, quarantine("cut", duration="1s")))),
    Attempt("operator-disowns-a-quarantine", OPERATOR, "have one collected: an owner that is gone, a finalizer", By.QUARANTINES, (merge(CUT, {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}]}}), merge(CUT, {"metadata": {"finalizers": ["example.com/stay"]}}))),
    Attempt("operator-approves", OPERATOR, "approve one that waits", By.QUARANTINES, (merge(WAITING, approved(OPERATOR)),)),
    Attempt("analyst-asks-as-another", REQUESTER, "ask in somebody else's name, or as if a firewall or a SOAR had", By.QUARANTINES, (post(ALL, quarantine("mine", "somebody")), post(ALL, quarantine("mine", source="panorama-tag")), post(ALL, quarantine("mine", source="soar"))), "requestedBy is who asks"),
    Attempt("analyst-approves-alone", REQUESTER, "approve one's own, at once or later, in one's own name or another's", By.QUARANTINES, (post(ALL, quarantine("mine", approvedBy=REQUESTER)), merge(WAITING, approved(REQUESTER)), merge(WAITING, approved(APPROVER))), "by somebody else than who asked"),
    Attempt("analyst-forgets-the-budget", REQUESTER, "take away why one waits for an approval", By.QUARANTINES, (merge(WAITING, {"spec": {"held": None}}),), "it is approved or deleted"),
    Attempt("analyst-cuts-the-guards-off", REQUESTER, "put zonebridge's own pods into quarantine, or the cluster's", By.QUARANTINES, tuple(post(ALL, of_namespace(each)) for each in (BRIDGE_NAMESPACE, ENFORCER_NAMESPACE, "kube-system")), "are exempt"),
    Attempt("analyst-changes-whom-it-holds", REQUESTER, "another pod, another reason, another asker for a Quarantine that stands", By.KIND, (merge(CUT, {"spec": {"pod": OTHER_POD}}), merge(CUT, {"spec": {"pod": None, "workload": {"namespace": "shop", "name": "web"}}}), merge(CUT, {"spec": {"reason": "none"}}), merge(CUT, {"spec": {"requestedBy": "somebody"}})), ""),
    Attempt("analyst-asks-for-ever", REQUESTER, "a quarantine without end, or for longer than seven days", By.KIND, tuple(post(ALL, quarantine("mine", duration=each)) for each in ("169h", "0s", "999999h", "forever")), ""),
    Attempt("analyst-names-everybody", REQUESTER, "a quarantine of no pod, of a namespace, of a pod and a workload", By.KIND, (post(ALL, ours("Quarantine", "mine", {"reason": "r", "requestedBy": REQUESTER, "source": "person", "duration": "1h"})), post(ALL, quarantine("mine", workload={"namespace": "shop", "name": ""})), post(ALL, quarantine("mine", workload={"namespace": "shop", "name": "web"}, pod=OTHER_POD))), ""),
    Attempt("bridge-changes-a-quarantine", STOLEN, "approve, change or shorten one with the bridge's own token: it may ask and let out, and change nothing", By.RBAC, (merge(WAITING, approved("zonebridge")), merge(CUT, {"spec": {"dryRun": True}}), put(CUT, quarantine("cut", duration="1s")), delete(ALL))),
    Attempt("bridge-approves-from-the-start", STOLEN, "one beyond the budget with an approval of its own", By.QUARANTINES, (post(ALL, quarantine("mine", source="soar", held="3 of 4 pods", approvedBy="zonebridge")),)),
    Attempt("bridge-cuts-the-guards-off", STOLEN, "by tag or SOAR the bridge's own pods, the enforcers or the cluster's", By.QUARANTINES, tuple(post(ALL, of_namespace(each) | {"spec": of_namespace(each)["spec"] | {"source": "soar"}}) for each in (BRIDGE_NAMESPACE, ENFORCER_NAMESPACE, "kube-system")), "are exempt"),
    Attempt("approver-asks", APPROVER, "ask for one, let one out", By.RBAC, (post(ALL, quarantine("mine", APPROVER)), delete(CUT))),
    Attempt("approver-changes-more", APPROVER, "approve one and make it longer, or approve in another's name", By.QUARANTINES, (merge(WAITING, {"spec": {"approvedBy": APPROVER, "duration": "100h"}}), merge(WAITING, {"spec": {"approvedBy": "somebody"}}), merge(WAITING, {"metadata": {"finalizers": ["example.com/stay"]}}))),
)  # fmt: skip
