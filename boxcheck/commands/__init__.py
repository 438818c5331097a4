"""Bodies of the commands: arguments -> engine -> report -> exit code. Imported only when their command is run."""
