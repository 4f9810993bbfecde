"""Faults on the way to real servers: proxies on loopback that forward everything but what a test poisons."""
