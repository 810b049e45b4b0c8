"""What there is: the Fleet, read from a live cluster or from manifests, and the census."""
