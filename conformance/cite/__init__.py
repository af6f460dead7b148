"""Who answers which requirement of which RFC.

A claim such as "we keep RFC 8489" is worth as much as the list behind it. The list is in
``conformance/requirements``: every MUST of the documents we live by that binds a relay or an
ICE-lite server, in our own words. This room reads it, reads what the code, the tests and the cases
say about it, and finds where the two part: an id that nobody wrote down, a test that is gone, a
requirement that nothing would notice being broken. It decides nothing about the requirements
themselves; that is a reader's work, and the files are where it is kept.
"""
