"""What the GPU costs: sessions (`meter`), the log and its totals (`ledger`), reports, watching, RunPod's own bill."""
