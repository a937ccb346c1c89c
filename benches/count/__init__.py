"""Instructions, system calls and allocations of an operation: figures that noise does not move."""
