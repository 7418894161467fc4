"""Route tables, one module per section of the contract."""
