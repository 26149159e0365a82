"""A report as people and programs read it: text for a terminal, JSON, one page of HTML, a short message."""
