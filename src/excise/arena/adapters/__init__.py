"""Doors to other people's loops: RL environments and program searches over the same score. Each needs its own extra."""
