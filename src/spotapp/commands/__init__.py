"""The operator's commands, one module for each noun; ``spotapp.cli`` puts them together."""
