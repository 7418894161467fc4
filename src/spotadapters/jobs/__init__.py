"""Background jobs: what they are to everybody else, who runs them when, and the queue that carries them."""
