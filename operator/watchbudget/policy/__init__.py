"""Rules, exemptions, verdict: what a budget says of a DaemonSet's bill."""
