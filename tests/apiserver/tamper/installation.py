"""Attempts on what keeps the tier: identities, rights, policies, kinds, the bridge's own namespace."""

from tests.apiserver.installed import BRIDGE, ENFORCER_NAMESPACE, RESTRICTED, pod, restricted_pod
from tests.apiserver.installed import ENFORCER as ENFORCERS
from tests.apiserver.tamper.attempt import OURS, Attempt, By, delete, get, merge, patch, post, put
from tests.apiserver.tamper.people import ADMINISTRATOR, DEVELOPER, ENFORCER, OPERATOR, OWNER, RBAC, SYSTEM, workload
from tests.apiserver.tamper.tier import CHUNK, CHUNKS, TIER

SERVED = "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.zonebridge.io"
SIGNING = "/apis/certificates.k8s.io/v1/certificatesigningrequests/mine"
OPEN = [{"rule": {"name": "mine", "rulebase": "pre"}, "verdict": "allow"}]
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/zonebridge-system/leases"
APPS = "/apis/apps/v1/namespaces/zonebridge-system"
AGENTS = f"/api/v1/namespaces/{ENFORCER_NAMESPACE}"
AGENTS_APPS = f"/apis/apps/v1/namespaces/{ENFORCER_NAMESPACE}"
POLICY = f"{ADMISSION}/validatingadmissionpolicies/zonebridge-zones"
BOUND = f"{ADMISSION}/validatingadmissionpolicybindings/zonebridge-zones"
BELONGS = "belong to the platform team"
TOKEN = {"spec": {"audiences": [], "expirationSeconds": 3600}}
AS_BRIDGE = restricted_pod("mine", serviceAccountName="zonebridge")
LEGACY_TOKEN = {
    "metadata": {"name": "mine", "annotations": {"kubernetes.io/service-account.name": "zonebridge"}},
    "type": "kubernetes.io/service-account-token",
}
SUBJECT = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DEVELOPER}]


def granting(name: str, role: str) -> dict:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return {"metadata": {"name": name}, "roleRef": ref, "subjects": SUBJECT}


def level(name: str) -> dict:
    return {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": name}}}


def secret(name: str) -> dict:
    return {"metadata": {"name": name}, "stringData": {"ca.crt": "mine"}}


def aggregated(*verbs: str) -> dict:
    """A role that every `edit` of the cluster would have."""
    labels = {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}
    rules = [{"apiGroups": ["zonebridge.io"], "resources": ["tiers", "zones"], "verbs": list(verbs)}]
    return {"metadata": {"name": "mine", "labels": labels}, "rules": rules}


PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
FOREIGN_KIND = {
    "metadata": {"name": "rules.zonebridge.io"},
    "spec": {
        "group": "zonebridge.io",
        "names": {"plural": "rules", "kind": "Rule"},
        "scope": "Cluster",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}},
        ],
    },
}
ON_N2 = ("Impersonate-Extra-authentication.kubernetes.io%2fnode-name", "n2")
AS_SOMEBODY = (
    merge(TIER, {"spec": {"revision": 2}}).impersonating(BRIDGE),
    merge(f"{OURS}/nodestates/n2/status", {"status": {"revision": 9}}).impersonating(ENFORCERS, ON_N2),
    merge(TIER, {"spec": {"revision": 2}}).impersonating("admin", ("Impersonate-Group", "system:masters")),
)

ATTEMPTS = (
    Attempt("developer-impersonates", DEVELOPER, "impersonate the bridge, an enforcer, an administrator (`edit` may impersonate its namespace's accounts)", By.RBAC, AS_SOMEBODY, "cannot impersonate"),
    Attempt("operator-impersonates", OPERATOR, "the same with every usual right", By.RBAC, AS_SOMEBODY, "cannot impersonate"),
    Attempt("developer-gets-the-bridges-token", DEVELOPER, "`kubectl create token zonebridge`", By.RBAC, (post(f"{SYSTEM}/serviceaccounts/zonebridge/token", TOKEN),)),
    Attempt("developer-runs-as-the-bridge", DEVELOPER, "run a pod in zonebridge-system with the bridge's service account", By.RBAC, (post(f"{SYSTEM}/pods", AS_BRIDGE),)),
    Attempt("owner-borrows-the-account", OWNER, "run a pod with the service account of another namespace", By.API, (post("/api/v1/namespaces/plain/pods", pod("mine", serviceAccountName="zonebridge")),), 'serviceaccount "zonebridge" not found'),
    Attempt("operator-gets-the-bridges-token", OPERATOR, "`kubectl create token`, of the bridge and of an enforcer", By.SYSTEM, (post(f"{SYSTEM}/serviceaccounts/zonebridge/token", TOKEN), post(f"{AGENTS}/serviceaccounts/zone-enforcer/token", TOKEN)), BELONGS),
    Attempt("operator-makes-a-lasting-token", OPERATOR, "a Secret that is filled with the bridge's token", By.SYSTEM, (post(f"{SYSTEM}/secrets", LEGACY_TOKEN),)),
    Attempt("operator-runs-as-the-bridge", OPERATOR, "run a pod, a Deployment or a CronJob in zonebridge-system", By.SYSTEM, (post(f"{SYSTEM}/pods", AS_BRIDGE), post(f"{APPS}/deployments", workload("apps/v1", "Deployment", "mine", {})), post("/apis/batch/v1/namespaces/zonebridge-system/cronjobs", workload("batch/v1", "CronJob", "mine", {}))), BELONGS),
    Attempt("operator-enters-the-bridge", OPERATOR, "`kubectl exec`, `attach` and `debug` into the bridge's pod", By.SYSTEM, (post(f"{SYSTEM}/pods/bridge/exec?command=sh&container=c&stdin=true", {}), post(f"{SYSTEM}/pods/bridge/attach?container=c&stdin=true", {}), merge(f"{SYSTEM}/pods/bridge/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "debug", "image": "i", "securityContext": RESTRICTED}]}})), BELONGS),
    Attempt("operator-replaces-the-image", OPERATOR, "another image for the bridge, in its pod or its Deployment; the enforcers changed, either deleted", By.SYSTEM, (patch(f"{SYSTEM}/pods/bridge", {"op": "replace", "path": "/spec/containers/0/image", "value": "mine"}), merge(f"{APPS}/deployments/zonebridge", {"spec": {"paused": True}}), merge(f"{AGENTS_APPS}/daemonsets/zone-enforcer", {"spec": {"minReadySeconds": 9}}), delete(f"{AGENTS_APPS}/daemonsets/zone-enforcer"), delete(f"{APPS}/deployments/zonebridge")), BELONGS),
    Attempt("operator-shrinks-the-bridge", OPERATOR, "less memory for the bridge's pod than it needs, through `pods/resize`", By.SYSTEM, (merge(f"{SYSTEM}/pods/bridge/resize", {"spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}, "limits": {"memory": "2Mi"}}}]}}),), BELONGS),
    Attempt("operator-disowns-the-bridges-pod", OPERATOR, "other labels for the bridge's pod, so that its controller makes a second one beside it", By.SYSTEM, (merge(f"{SYSTEM}/pods/bridge", {"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}}),), BELONGS),
    Attempt("operator-writes-history", OPERATOR, "a ControllerRevision among the enforcers', to which `kubectl rollout undo` would go back", By.SYSTEM, (post(f"{AGENTS_APPS}/controllerrevisions", {"metadata": {"name": "mine"}, "revision": 1, "data": {}}),), BELONGS),
    Attempt("operator-scales-to-none", OPERATOR, "`kubectl scale` the bridge to 0", By.SYSTEM, (merge(f"{APPS}/deployments/zonebridge/scale", {"spec": {"replicas": 0}}),), BELONGS),
    Attempt("operator-starves-the-bridge", OPERATOR, "a ResourceQuota, a LimitRange, a NetworkPolicy against the bridge; its service account deleted", By.SYSTEM, (post(f"{SYSTEM}/resourcequotas", {"metadata": {"name": "mine"}, "spec": {"hard": {"pods": "0"}}}), post(f"{SYSTEM}/limitranges", {"metadata": {"name": "mine"}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "1m"}}]}}), post("/apis/networking.k8s.io/v1/namespaces/zonebridge-system/networkpolicies", {"metadata": {"name": "mine"}, "spec": {"podSelector": {}}}), delete(f"{SYSTEM}/serviceaccounts/zonebridge")), BELONGS),
    Attempt("operator-changes-whom-the-bridge-trusts", OPERATOR, "another certificate authority in zonebridge-system's `kube-root-ca.crt`", By.SYSTEM, (post(f"{SYSTEM}/configmaps", {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "mine"}}),), BELONGS),
    Attempt("operator-edits-settings", OPERATOR, "other settings: another device group, `mode: observe`", By.SYSTEM, (post(f"{SYSTEM}/configmaps", {"metadata": {"name": "zone-enforcer-settings-mine"}, "data": {"enforcer.yaml": "mode: observe"}}),), BELONGS),
    Attempt("operator-takes-the-lease", OPERATOR, "delete the bridge's Lease, or hold it, so that no bridge leads", By.SYSTEM, (delete(f"{LEASE}/zonebridge-elsewhere"), merge(f"{LEASE}/zonebridge-elsewhere", {"spec": {"holderIdentity": "mine"}})), BELONGS),
    Attempt("developer-takes-the-lease", DEVELOPER, "delete the bridge's Lease, or hold it", By.RBAC, (delete(f"{LEASE}/zonebridge-elsewhere"), merge(f"{LEASE}/zonebridge-elsewhere", {"spec": {"holderIdentity": "mine"}}))),
    Attempt("operator-grants-in-the-bridges-namespace", OPERATOR, "a RoleBinding in zonebridge-system", By.SYSTEM, (post(f"{RBAC}/namespaces/zonebridge-system/rolebindings", granting("mine", "operator")),)),
    Attempt("owner-grants-cluster-wide", OWNER, "bind oneself to `cluster-admin` in the whole cluster", By.RBAC, (post(f"{RBAC}/clusterrolebindings", granting("mine", "cluster-admin")),)),
    Attempt("operator-grants-break-glass", OPERATOR, "bind or make a role that has `override` or `assign`: nobody grants what he hasn't", By.RBAC, (post(f"{RBAC}/clusterrolebindings", granting("mine", "zonebridge-break-glass")), post(f"{RBAC}/clusterrolebindings", granting("mine", "zonebridge-zone-assigner")), post(f"{RBAC}/clusterroles", aggregated("override")), post(f"{RBAC}/clusterroles", aggregated("assign"))), "attempting to grant"),
    Attempt("operator-removes-the-bridges-rights", OPERATOR, "delete or narrow zonebridge's own roles and bindings", By.INSTALLATION, (delete(f"{RBAC}/clusterrolebindings/zonebridge"), delete(f"{RBAC}/clusterroles/zone-enforcer"), merge(f"{RBAC}/clusterroles/zonebridge", {"rules": []}))),
    Attempt("owner-edits-policies", OWNER, "edit or delete an admission policy or its binding", By.RBAC, (delete(POLICY), delete(BOUND), merge(BOUND, {"spec": {"validationActions": ["Audit"]}}))),
    Attempt("developer-edits-kinds", DEVELOPER, "edit or delete a CustomResourceDefinition", By.RBAC, (delete(f"{KINDS}/tiers.zonebridge.io"), merge(f"{KINDS}/tiers.zonebridge.io", {"metadata": {"labels": {"a": "b"}}}))),
    Attempt("operator-edits-kinds", OPERATOR, "weaken a CustomResourceDefinition or delete it, and with it every object", By.INSTALLATION, (merge(f"{KINDS}/tiers.zonebridge.io", {"metadata": {"labels": {"a": "b"}}}), delete(f"{KINDS}/policychunks.zonebridge.io"))),
    Attempt("operator-ends-the-serving-of-kinds", OPERATOR, "call a kind not established, through `customresourcedefinitions/status`", By.INSTALLATION, (merge(f"{KINDS}/tiers.zonebridge.io/status", {"status": {"conditions": []}}),)),
    Attempt("operator-answers-for-our-kinds", OPERATOR, "an APIService that has one's own server answer for `zonebridge.io`", By.INSTALLATION, (merge(SERVED, {"spec": {"service": {"name": "mine", "namespace": "shop"}, "insecureSkipTLSVerify": True}}), delete(SERVED))),
    Attempt("administrator-edits-chunk", ADMINISTRATOR, "change what a PolicyChunk or an AddressSet holds: they are named by it", By.KIND, (merge(f"{CHUNKS}/{CHUNK['metadata']['name']}", {"spec": {"entries": OPEN}}),), "never changes"),
    Attempt("administrator-sets-tier-back", ADMINISTRATOR, "another content under the same revision, or a lower revision", By.KIND, (merge(TIER, {"spec": {"knownZones": ["mine"]}}), merge(TIER, {"spec": {"revision": 0}})), ""),
    Attempt("administrator-deletes-kinds", ADMINISTRATOR, "delete a CustomResourceDefinition by a slip, and with it every object", By.INSTALLATION, (delete(f"{KINDS}/tiers.zonebridge.io"), delete(f"{KINDS}/policychunks.zonebridge.io")), "remove zonebridge's admission policies first"),
    Attempt("operator-signs-a-certificate", OPERATOR, "approve a certificate in the bridge's name", By.API, (merge(f"{SIGNING}/approval", {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "mine", "message": "mine"}]}}),), "approve"),
    Attempt("operator-deletes-the-namespace", OPERATOR, "delete the namespace zonebridge-system, or the enforcers'", By.INSTALLATION, (delete(SYSTEM), delete(AGENTS))),
    Attempt("operator-shuts-the-enforcers-out", OPERATOR, "another Pod Security level for the bridge's or the enforcers' namespace", By.INSTALLATION, (merge(SYSTEM, level("privileged")), merge(AGENTS, level("restricted")))),
    Attempt("operator-shuts-the-enforcers-out-by-status", OPERATOR, "the same through `namespaces/status` and `namespaces/finalize`", By.INSTALLATION, (merge(f"{SYSTEM}/status", level("privileged")), merge(f"{AGENTS}/status", level("restricted")), put(f"{AGENTS}/finalize", {"metadata": {"name": ENFORCER_NAMESPACE} | level("restricted")["metadata"], "spec": {"finalizers": ["kubernetes"]}}))),
    Attempt("operator-adds-a-kind", OPERATOR, "a kind of one's own in our group", By.INSTALLATION, (post(KINDS, FOREIGN_KIND),)),
    Attempt("operator-takes-the-enforcers-priority", OPERATOR, "delete the priority class by which enforcers and the bridge push others aside", By.API, (delete(f"{PRIORITIES}/system-node-critical"), delete(f"{PRIORITIES}/system-cluster-critical")), "is a system priority class"),
    Attempt("operator-gives-another-panorama-key", OPERATOR, "write or delete the Secrets with Panorama's key and certificate authority, and with the SIEM's", By.SYSTEM, (post(f"{SYSTEM}/secrets", secret("zonebridge-siem")), merge(f"{SYSTEM}/secrets/zonebridge-panorama", {"stringData": {"ca.crt": "mine"}}), delete(f"{SYSTEM}/secrets/zonebridge-panorama"), post(f"{AGENTS}/secrets", secret("zone-enforcer-siem"))), BELONGS),
    Attempt("developer-tells-tales-of-the-tier", DEVELOPER, "an Event about the Tier, as if by the bridge", By.RBAC, (post("/api/v1/namespaces/default/events", {"metadata": {"name": "mine"}, "involvedObject": {"apiVersion": "zonebridge.io/v1alpha1", "kind": "Tier", "name": "panorama"}, "reason": "Published", "source": {"component": "zonebridge"}}),)),
    Attempt("owner-joins-the-node", OWNER, "a host-network pod, which is no pod to any tier, in a namespace with PodSecurity `baseline`", By.POD_SECURITY, (post("/api/v1/namespaces/guarded/pods", pod("mine", hostNetwork=True)),)),
    Attempt("owner-writes-cluster-network-policy", OWNER, "a ClusterNetworkPolicy that accepts everything", By.RBAC, (post("/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", {"metadata": {"name": "mine"}}),)),
    Attempt("enforcer-reads-secrets", ENFORCER, "read Panorama's key with an enforcer's token", By.RBAC, (get(f"{SYSTEM}/secrets/zonebridge-panorama"), get(f"{SYSTEM}/secrets"))),
)  # fmt: skip

# Where kube-apiserver reads config/static-admission from its own disk.
GUARDED_BY_FILES = (
    Attempt("operator-edits-policies", OPERATOR, "edit or delete an admission policy or its binding, where the API servers read `config/static-admission`", By.STATIC, (delete(f"{ADMISSION}/validatingadmissionpolicybindings/zonebridge-tier"), delete(f"{ADMISSION}/validatingadmissionpolicybindings"), delete(f"{ADMISSION}/validatingadmissionpolicies"), merge(f"{ADMISSION}/validatingadmissionpolicies/zonebridge-tier", {"spec": {"failurePolicy": "Ignore"}})), "a part of zonebridge"),
)  # fmt: skip
