"""Engines that may be slow, wrong or broken, and how they are asked all the same."""
