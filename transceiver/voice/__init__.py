"""Sound between the network's packets and an agent: what an agent hears, and what it says.

``listener`` turns packets into 20 ms of PCM every 20 ms, ``speaker`` turns PCM into packets at the
pace of speech. Both are cores: the time is an argument, and the same input gives the same sound.
The libraries that decode and encode are an extra, loaded when the first call needs them.
"""
