"""Benchmarks against peers, as ratios within one run: machines differ and are noisy, ratios say more."""
