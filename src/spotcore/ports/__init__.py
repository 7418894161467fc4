"""What the core needs from outside, as small protocols; one contract suite holds every adapter to them."""
