"""From what is known of a table to a proposed mapping: pure logic, for ``queuewarden adopt``."""
