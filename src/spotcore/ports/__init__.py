"""What the core needs from outside, as small protocols; the type checker and one contract suite hold adapters to them."""
