"""Object stores that tests start for themselves, on free ports of loopback, and stop by their processes."""
