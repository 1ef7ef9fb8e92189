"""Objects of a cluster in which every check passes, and for each check one that it finds wanting. It asks nobody."""

RBAC = "rbac.authorization.k8s.io/v1"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def made(kind, name, namespace=None, version="v1", *, labels=None, annotations=None, **rest):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata |= {"labels": labels} if labels else {}
    metadata |= {"annotations": annotations} if annotations else {}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def namespace(name, level="baseline", **annotations):
    labels = {"pod-security.kubernetes.io/enforce": level} if level else {}
    return made("Namespace", name, labels=labels, annotations=annotations)


def policy(space):
    return made(
        "NetworkPolicy", "closed", space, "networking.k8s.io/v1", spec={"podSelector": {}, "policyTypes": ["Ingress"]}
    )


def account(name, space="shop", *, mounts=False):
    own = {} if mounts is None else {"automountServiceAccountToken": mounts}
    return made("ServiceAccount", name, space, labels={"app": "shop"}, **own)


def pod(name, space="shop", *, container=None, context=None, **spec):
    container = {"name": "c", "image": "i", "securityContext": {**RESTRICTED, **(context or {})}} | (container or {})
    return made("Pod", name, space, spec={"serviceAccountName": "quiet", "containers": [container]} | spec)


def role(name, verbs, resources, group="", space=None, **rest):
    rule = {"verbs": verbs, "apiGroups": [group], "resources": resources, **rest}
    return made("Role" if space else "ClusterRole", name, space, RBAC, rules=[rule])


def bound(name, to, subject=None, space=None, kind="ClusterRole"):
    subject = subject or {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": to}
    binding = "RoleBinding" if space else "ClusterRoleBinding"
    return made(binding, name, space, RBAC, roleRef=reference, subjects=[subject])


def granted(name, verbs, resources, group=""):
    return [role(name, verbs, resources, group), bound(name, name)]


def proxy(address):
    text = f"kind: KubeProxyConfiguration\nmetricsBindAddress: {address}\n"
    return made("ConfigMap", "kube-proxy", "kube-system", data={"config.conf": text})


def service(name, policy_of_traffic):
    spec = {"type": "NodePort", "ports": [{"port": 80}], "externalTrafficPolicy": policy_of_traffic}
    return made("Service", name, "shop", spec=spec)


def node_state(name, *problems):
    return made(
        "NodeState", name, None, "zonebridge.io/v1alpha1", spec={}, status={"problems": list(problems), "revision": 1}
    )


GOOD = [
    namespace("shop"),
    namespace("default"),
    policy("shop"),
    policy("default"),
    account("quiet"),
    account("busy", mounts=None),
    role("reads-config", ["get"], ["configmaps"], space="shop"),
    bound("reads-config", "reads-config", {"kind": "ServiceAccount", "name": "busy"}, "shop", "Role"),
    # What an application has in its own namespace is its own matter.
    role("deploys", ["*"], ["secrets"], space="shop") | {"rules": [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"]},
        {"verbs": ["create"], "apiGroups": ["", "apps"], "resources": ["pods", "deployments"]},
    ]},
    bound("deploys", "deploys", None, "shop", "Role"),
    pod("web"),
    pod("api", serviceAccountName="busy"),
    proxy("127.0.0.1:10249"),
    made("Node", "n1"),
    node_state("n1"),
    service("front", "Local"),
]  # fmt: skip
_BAD_ADMISSION = "admissionregistration.k8s.io"
_OURS = "zonebridge.io"
# By check: what it finds wanting; the last one is what it names.
BAD = {
    "cluster-admins": [bound("too-much", "cluster-admin")],
    "wildcard-roles": [role("wild", ["*"], ["configmaps"], space="shop")],
    "secret-readers": granted("snoop", ["list"], ["secrets"]),
    "pod-creators": granted("deployer", ["create"], ["daemonsets"], "apps"),
    "privilege-givers": granted("double", ["impersonate"], ["serviceaccounts"]),
    "volume-creators": granted("disks", ["create"], ["persistentvolumes"]),
    "node-proxy-users": granted("prober", ["get"], ["nodes/proxy"]),
    "certificate-approvers": granted("approver", ["update"], ["certificatesigningrequests/approval"], "certificates.k8s.io"),
    "webhook-writers": granted("hooks", ["patch"], ["mutatingwebhookconfigurations"], _BAD_ADMISSION),
    "token-creators": granted("tokens", ["create"], ["serviceaccounts/token"]),
    "default-accounts": [account("default", mounts=None)],
    "idle-tokens": [pod("idle", automountServiceAccountToken=True)],
    "pod-admission": [namespace("lax", "privileged")],
    "namespaces-without-policies": [namespace("open")],
    "default-namespace": [account("quiet", "default"), pod("lost", "default")],
    "privileged-pods": [pod("strong", context={"privileged": True, "allowPrivilegeEscalation": True})],
    "host-pid-pods": [pod("seer", hostPID=True)],
    "host-ipc-pods": [pod("sharer", hostIPC=True)],
    "host-network-pods": [pod("wired", hostNetwork=True)],
    "escalating-pods": [pod("climber", context={"allowPrivilegeEscalation": True})],
    "root-pods": [pod("rooted", context={"runAsNonRoot": False, "runAsUser": 0})],
    "net-raw-pods": [pod("forger", context={"capabilities": {"drop": ["CHOWN"]}})],
    "capabilities": [pod("capable", context={"capabilities": {"drop": ["ALL"], "add": ["SYS_TIME"]}})],
    "host-process-pods": [
        pod(
            "windows",
            context=dict.fromkeys(RESTRICTED) | {"runAsNonRoot": True},
            os={"name": "windows"},
            hostNetwork=True,
            securityContext={"windowsOptions": {"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}},
        )
    ],
    "host-path-pods": [pod("digger", volumes=[{"name": "v", "hostPath": {"path": "/etc"}}])],
    "host-port-pods": [pod("porter", container={"ports": [{"containerPort": 80, "hostPort": 8080}]})],
    "secrets-in-environment": [
        pod(
            "leaky",
            container={"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        )
    ],
    "unconfined-pods": [pod("loose", context={"seccompProfile": {"type": "Unconfined"}})],
    "contextless-pods": [pod("vague", container={"securityContext": None})],
    "proxy-metrics": [proxy("0.0.0.0:10249")],
    "tier-writers": granted("writer", ["patch"], ["tiers"], _OURS),
    "tier-overriders": granted("overrider", ["override"], ["tiers"], _OURS),
    "zone-assigners": granted("assigner", ["assign"], ["zones"], _OURS),
    "pod-address-writers": granted("addresses", ["patch"], ["pods/status"]),
    "node-writers": granted("nodes", ["update"], ["nodes"]),
    "admission-writers": granted("policies", ["delete"], ["validatingadmissionpolicybindings"], _BAD_ADMISSION),
    "pods-beside-the-tier": [pod("beside", context={"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}})],
    "many-zone-namespaces": [policy("wide"), namespace("wide", **{"zonebridge.io/zones": "web,data"})],
    "unseen-traffic": [node_state("n1", "br_netfilter is not loaded")],
    "hidden-clients": [service("back", "Cluster")],
}  # fmt: skip
