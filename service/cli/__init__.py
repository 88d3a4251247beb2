"""The command `unmel`: the service, and its work on files without one."""
