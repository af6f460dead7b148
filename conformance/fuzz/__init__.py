"""Fuzzing: everything that strangers may say, said millions of times.

Whatever reads bytes of the network has a name that ends in ``_untrusted``, so what is to be fuzzed
need not be listed: ``discover`` reads the sources. Most of these functions take bytes and nothing
else and are called as they are; for the others the modules ``parsers_*`` say how. The cores are
targets as well, with an input that is a row of operations (``operations``), because what breaks a
state machine is rarely one packet.

A target is a function of bytes that returns for every input; what it lets escape is a finding.
Targets keep nothing between two inputs, so that a finding comes again from its file alone, and they
are without I/O like what they test. Around them stand the engines: ``child`` is a process of its
own under atheris, ``sequences`` gives the cores to Hypothesis, ``smoke`` needs neither. ``runner``
starts children and collects what they find, ``campaign`` does so for hours.
"""
