"""Notifications on their way to people: signed webhooks, and e-mail, Slack and others through a library."""
