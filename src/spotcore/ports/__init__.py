"""What the core needs from outside, as small protocols. Adapters are held to them by the type checker and one contract suite."""
