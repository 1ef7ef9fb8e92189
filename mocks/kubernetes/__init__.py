"""A Kubernetes API server in small: what clients and kubectl see, without controllers, kubelets or authorization.

It knows nothing of any product that talks to it. Tests and `python -m mocks kubernetes` start it.
"""

from mocks.kubernetes.handlers import Seen
from mocks.kubernetes.server import KubernetesServer, serve
from mocks.kubernetes.status import ApiError
from mocks.kubernetes.store import Store

__all__ = ["ApiError", "KubernetesServer", "Seen", "Store", "serve"]
