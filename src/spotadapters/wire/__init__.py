"""JSON at the edge: strict in, exact out, and the one place that knows the wire's words (Z1)."""
