"""Servers that are broken on purpose, one switch each, so that the suite has to notice.

A mutant swaps one function of our own cores for one that makes a mistake somebody has made in the
field. The case that names the mistake must fail on it, and few others may: a mutant that nothing
kills shows a case that cannot fail, one that kills everything shows nothing at all.

To add one, write a generator function that breaks something with ``swapped``, yields once and so
mends it, and decorate it with ``mutant``; the modules are areas, and what they define is found. Its
name is ``area/mistake`` and permanent, ``breaks`` says in one sentence what the server does, and
``killer`` is the case. ``conformance mutants NAME --others`` shows who else noticed. Break what a
reader of the code would call by that name: a mutant that has to swap three functions is most often
a second way to write down the case.
"""
