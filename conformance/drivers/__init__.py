"""Stages in virtual time: our own cores in memory, bare or in a simulated network."""
