"""What is measured of an erasure: what probes still read, what the edit cost, whether it treats rows alone."""
