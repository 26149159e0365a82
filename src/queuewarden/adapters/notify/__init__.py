"""Telling people: messages through Apprise, in a process of its own, and the dead-man ping."""
