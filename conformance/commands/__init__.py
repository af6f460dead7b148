"""The subcommands of ``conformance``, one file each."""
