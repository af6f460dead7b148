"""The commands of ``stunroute``, one module for each thing a person may want of it. Each imports
what it needs when it runs, so that none costs another its start or its extras."""
