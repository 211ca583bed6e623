"""What parts cost, measured: time, memory and operations against a size, their growth, and where one overtakes another."""
