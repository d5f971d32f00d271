"""A Kubernetes API server whose kubelet starts local processes: the real protocol for pods, Jobs and what they need."""
