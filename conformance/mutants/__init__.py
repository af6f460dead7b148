"""Servers that are broken on purpose, one switch each, so that the suite has to notice.

A mutant swaps one function of our own cores for one that makes a mistake somebody has made in the
field. The case that names the mistake must fail on it, and few others may: a mutant that nothing
kills shows a case that cannot fail, one that kills everything shows nothing at all.
"""
