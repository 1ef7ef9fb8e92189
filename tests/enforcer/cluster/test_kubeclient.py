"""The Kubernetes client comes without its synchronous half, which is there for whoever wants it all the same."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from zones.kube.kubernetes_aio import client, config
brought = [name for name in ("requests", "oauthlib", "websocket", "kubernetes.client") if name in sys.modules]
from kubernetes import client as synchronous
from kubernetes.aio import watch
import kubernetes
print(json.dumps([brought, synchronous.__name__, watch.__name__, kubernetes.aio.client is client]))
"""


def test_only_what_is_asked_for_is_imported():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [[], "kubernetes.client", "kubernetes.aio.watch", True]
