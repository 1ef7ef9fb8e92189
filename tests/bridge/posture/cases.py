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


KUBELET = {
    "anonymous": False,
    "authorizationMode": "Webhook",
    "clientAuthority": True,
    "readOnlyPort": 0,
    "idleTimeout": "4h0m0s",
    "utilityChains": True,
    "servingCertificate": True,
    "rotateCertificates": True,
    "rotateServerCertificate": True,
    "ciphers": ["TLS_AES_128_GCM_SHA256"],
    "podPidsLimit": 4096,
    "seccompDefault": True,
}


def node_state(name, *problems, kubelet=None, **settings):
    status = {"problems": list(problems), "revision": 1, "kubelet": kubelet or {"settings": KUBELET | settings}}
    return made("NodeState", name, None, "zonebridge.io/v1alpha1", spec={}, status=status)


# As hardened as arguments can be; `None` leaves one out.
ARGUMENTS = {
    "kube-apiserver": {
        "anonymous-auth": "false",
        "enable-admission-plugins": "DenyServiceExternalIPs,EventRateLimit,AlwaysPullImages,NodeRestriction",
        "kubelet-client-certificate": "/pki/kubelet.crt",
        "kubelet-client-key": "/pki/kubelet.key",
        "kubelet-certificate-authority": "/pki/ca.crt",
        "authorization-mode": "Node,RBAC",
        "profiling": "false",
        "audit-log-path": "/var/log/audit.log",
        "audit-log-maxage": "30",
        "audit-log-maxbackup": "10",
        "audit-log-maxsize": "100",
        "service-account-key-file": "/pki/sa.pub",
        "etcd-servers": "https://127.0.0.1:2379",
        "etcd-certfile": "/pki/etcd.crt",
        "etcd-keyfile": "/pki/etcd.key",
        "etcd-cafile": "/pki/etcd/ca.crt",
        "tls-cert-file": "/pki/apiserver.crt",
        "tls-private-key-file": "/pki/apiserver.key",
        "client-ca-file": "/pki/ca.crt",
        "encryption-provider-config": "/etc/encryption.yaml",
        "tls-cipher-suites": "TLS_AES_128_GCM_SHA256",
        "service-account-extend-token-expiration": "false",
        "audit-policy-file": "/etc/audit.yaml",
    },
    "kube-controller-manager": {
        "terminated-pod-gc-threshold": "1000",
        "profiling": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": "/pki/sa.key",
        "root-ca-file": "/pki/ca.crt",
        "bind-address": "127.0.0.1",
    },
    "kube-scheduler": {"profiling": "false", "bind-address": "127.0.0.1"},
    "etcd": {
        "cert-file": "/pki/etcd.crt",
        "key-file": "/pki/etcd.key",
        "client-cert-auth": "true",
        "peer-cert-file": "/pki/peer.crt",
        "peer-key-file": "/pki/peer.key",
        "peer-client-cert-auth": "true",
        "trusted-ca-file": "/pki/etcd/ca.crt",
    },
}


def static_pod(program, name=None, node="n1", words=None, environment=None, **changed):
    """A mirror of a kubelet's own pod. `changed`: arguments, with `_` for `-`."""
    arguments = ARGUMENTS[program] | {key.replace("_", "-"): value for key, value in changed.items()}
    command = words or [
        f"/usr/bin/{program}",
        *(f"--{key}={value}" for key, value in arguments.items() if value is not None),
    ]
    container = {"name": program, "image": "i", "command": command}
    container |= {"env": [{"name": key, "value": value} for key, value in (environment or {}).items()]}
    mirror = {"kubernetes.io/config.mirror": "0123"}
    spec = {"nodeName": node, "hostNetwork": True, "containers": [container]}
    labels = {"component": program, "tier": "control-plane"}
    return made("Pod", name or f"{program}-{node}", "kube-system", labels=labels, annotations=mirror, spec=spec)


# By check: the argument that makes it fail.
WRONG = {
    "kube-apiserver": {
        "anonymous": {"anonymous_auth": None},
        "static-tokens": {"token_auth_file": "/tokens.csv"},
        "external-ips": {"enable_admission_plugins": "EventRateLimit,AlwaysPullImages,NodeRestriction"},
        "kubelet-client": {"kubelet_client_key": None},
        "kubelet-authority": {"kubelet_certificate_authority": None},
        "no-always-allow": {"authorization_mode": None},
        "node-authorizer": {"authorization_mode": "RBAC"},
        "rbac": {"authorization_mode": "Node,ABAC"},
        "event-limit": {"enable_admission_plugins": "DenyServiceExternalIPs,AlwaysPullImages,NodeRestriction"},
        "no-always-admit": {"enable_admission_plugins": "AlwaysAdmit"},
        "pull-images": {"enable_admission_plugins": "NodeRestriction"},
        "account-admission": {"disable_admission_plugins": "ServiceAccount"},
        "namespace-admission": {"disable_admission_plugins": "PodSecurity,NamespaceLifecycle"},
        "node-admission": {"enable_admission_plugins": None},
        "profiling": {"profiling": None},
        "audit-log": {"audit_log_path": None},
        "audit-age": {"audit_log_maxage": "29"},
        "audit-backups": {"audit_log_maxbackup": None},
        "audit-size": {"audit_log_maxsize": "99"},
        "request-timeout": {"request_timeout": "301s"},
        "account-lookup": {"service_account_lookup": "false"},
        "account-key": {"service_account_key_file": None},
        "etcd-client": {"etcd_certfile": None},
        "certificate": {"tls_private_key_file": None},
        "client-authority": {"client_ca_file": None},
        "etcd-authority": {"etcd_cafile": None},
        "encryption": {"encryption_provider_config": None},
        "ciphers": {"tls_cipher_suites": "TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA"},
        "token-extension": {"service_account_extend_token_expiration": None},
        "audit-policy": {"audit_policy_file": None},
    },
    "kube-controller-manager": {
        "pod-collection": {"terminated_pod_gc_threshold": None},
        "profiling": {"profiling": "true"},
        "accounts": {"use_service_account_credentials": None},
        "account-key": {"service_account_private_key_file": None},
        "root-authority": {"root_ca_file": None},
        "kubelet-rotation": {"feature_gates": "A=true,RotateKubeletServerCertificate=false"},
        "address": {"bind_address": None},
    },
    "kube-scheduler": {"profiling": {"profiling": None}, "address": {"bind_address": "0.0.0.0"}},
    "etcd": {
        "certificate": {"key_file": None},
        "clients": {"client_cert_auth": None},
        "no-self-signed": {"auto_tls": "true"},
        "peer-certificate": {"peer_cert_file": None},
        "peers": {"peer_client_cert_auth": "false"},
        "no-self-signed-peers": {"peer_auto_tls": "true"},
        "own-authority": {"trusted_ca_file": "/pki/ca.crt"},
    },
}
CONTROL_PLANE = [static_pod(program) for program in ARGUMENTS]

GOOD = [
    *CONTROL_PLANE,
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
    made("Node", "n1", labels={"node-role.kubernetes.io/control-plane": ""}),
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
BAD |= {
    f"{program.removeprefix('kube-').replace('apiserver', 'api-server')}-{name}": [
        static_pod(program, f"{program}-without-{name}", **changed)
    ]
    for program, cases in WRONG.items()
    for name, changed in cases.items()
}
# By check: what of a kubelet makes it fail.
OPEN_KUBELETS = {
    "anonymous": {"anonymous": True},
    "authorization": {"authorizationMode": "AlwaysAllow"},
    "client-authority": {"clientAuthority": False},
    "read-only-port": {"readOnlyPort": 10255},
    "idle-streams": {"idleTimeout": "0s"},
    "utility-chains": {"utilityChains": False},
    "certificate": {"servingCertificate": False},
    "rotation": {"rotateCertificates": False},
    "server-rotation": {"rotateServerCertificate": False},
    "ciphers": {"ciphers": ["TLS_RSA_WITH_AES_128_CBC_SHA"]},
    "pids": {"podPidsLimit": -1},
    "seccomp": {"seccompDefault": False},
}
BAD |= {
    f"kubelet-{name}": [node_state(f"n-{name}", **settings), made("Node", f"n-{name}")]
    for name, settings in OPEN_KUBELETS.items()
}
