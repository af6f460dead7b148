"""Relays, transceivers and clients in one process, in virtual time, with everything going wrong.

The cores are the real ones: nothing of them is imitated, and each has a clock and an entropy of its
own. What lies between them is made here from a seed: a network that loses, delays, repeats and
spoils, processes that die, a store that lies, clocks that jump. What must hold all the same is
checked all the time. Equal seeds give equal runs to the last byte, so a number is a bug report.
"""
