"""The API server asks a team's webhook, in a pod: with `failurePolicy: Fail` a tier that cuts it off stops the cluster."""

import base64

import pytest

from tests.cluster.apps import PATIENTLY, service
from tests.cluster.images import PRODUCT_IMAGE

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(300)]
WHERE, NAME, PORT = "plain", "webhook", 8080
SAID = "the webhook was asked"
ANSWERER = f"""
import http.server, json, ssl
class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {{"uid": asked["request"]["uid"], "allowed": True, "warnings": ["{SAID}"]}}
        body = json.dumps(asked | {{"request": None, "response": answer}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server = http.server.ThreadingHTTPServer(("", {PORT}), Webhook)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def webhook(installed):
    cluster = installed.cluster
    issued = cluster.authority.issue(NAME, NAME, hosts=(f"{NAME}.{WHERE}.svc",))
    cluster.kubectl("create", "secret", "tls", NAME, "-n", WHERE, f"--cert={issued.file}", f"--key={issued.key}")
    cluster.apply(_workload(), service(WHERE, NAME, NAME))
    cluster.kubectl("rollout", "status", "-n", WHERE, f"deployment/{NAME}", "--timeout=60s")
    cluster.apply(_registration(cluster.authority.ca_file.read_bytes()))
    yield installed
    for kind, *where in (
        ("validatingwebhookconfiguration",),
        ("deployment", "-n", WHERE),
        ("service", "-n", WHERE),
        ("secret", "-n", WHERE),
        ("configmap", "-n", WHERE),
    ):
        cluster.kubectl("delete", kind, NAME, *where, "--ignore-not-found")


def test_the_api_server_reaches_webhooks_unless_the_settings_say_where_alone(webhook):
    cluster = webhook.cluster
    cluster.wait(lambda: SAID in created(cluster).stderr, "the webhook is asked", 30)
    before = webhook.revision()
    webhook.bridge["infrastructure"] = {"apiServer": {"webhookNamespaces": ["elsewhere"]}}
    webhook.apply()
    webhook.wait_revision(before + 1)
    webhook.wait_in_sync()
    refused = created(cluster)
    assert refused.returncode != 0
    assert f'failed calling webhook "{NAME}.{WHERE}.svc"' in refused.stderr


def created(cluster):
    """What becomes of an object that the webhook is asked about."""
    cluster.kubectl("delete", "configmap", NAME, "-n", WHERE, "--ignore-not-found")
    return cluster.control.try_kubectl("create", "configmap", NAME, "-n", WHERE)


def _workload():
    container = {
        "name": "webhook",
        "image": PRODUCT_IMAGE,
        "command": ["python3", "-I", "-S", "-c", ANSWERER],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1} | PATIENTLY,
        "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "tls", "secret": {"secretName": NAME}}],
        "automountServiceAccountToken": False,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": WHERE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": spec},
        },
    }


def _registration(authority):
    where = {"name": NAME, "namespace": WHERE, "port": PORT}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [
            {
                "name": f"{NAME}.{WHERE}.svc",
                "clientConfig": {"service": where, "caBundle": base64.b64encode(authority).decode()},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": WHERE}},
                "failurePolicy": "Fail",
                "timeoutSeconds": 2,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
