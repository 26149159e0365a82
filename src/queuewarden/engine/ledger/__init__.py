"""The ledger: what was changed, before and after, why and by whom; and what follows from it."""
