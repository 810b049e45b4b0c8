"""WatchBudget: what node agents' watches cost a Kubernetes cluster, and a budget for them."""

__version__ = "0.1.0"
