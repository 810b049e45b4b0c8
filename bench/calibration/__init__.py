"""What a full cache costs a process, by client library: where `cost/calibration.yaml` comes from."""
