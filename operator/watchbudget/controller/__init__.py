"""The process in the cluster: admission server, certificates, Lease. Nothing here judges: `policy` does."""
