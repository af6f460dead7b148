"""The subcommands of ``conformance``, one file each, whose click command is called ``command``.

``conformance.__main__`` collects them, and has those about recordings. What a command decides
stands in its room; here are options, progress, tables and exit statuses.
"""
