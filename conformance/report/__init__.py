"""What a run found out, for people and for programs.

All forms are made from the same ``Run``: a table in the terminal, JUnit for CI, JSON for programs,
and one HTML page that needs nothing from anywhere else.
"""
