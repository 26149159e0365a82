"""A report: what a period came to, made of samples, the ledger and failures. Pure."""
