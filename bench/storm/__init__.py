"""What a relist storm does to a control plane, natively and with WatchBudget. Run: python bench/storm."""
