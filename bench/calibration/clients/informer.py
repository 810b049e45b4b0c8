"""A node agent's cache and nothing else: one informer of the Python client on everything of one kind.

Usage: informer.py RESOURCE SELECTOR, with KUBECONFIG. Says "synced N" once its cache is full.
"""

import signal
import sys
import time

from kubernetes import client, config
from kubernetes.informer import SharedInformer

config.load_kube_config()
resource, selector = sys.argv[1:]
lists = {
    "namespaces": lambda: client.CoreV1Api().list_namespace,
    "networkpolicies": lambda: client.NetworkingV1Api().list_network_policy_for_all_namespaces,
}
informer = SharedInformer(list_func=lists[resource](), label_selector=selector)
informer.start()
while informer._resource_version is None:  # noqa: SLF001 - it has no word for "full"
    time.sleep(0.1)
print(f"synced {len(informer.cache.list_keys())}", flush=True)
signal.pause()
