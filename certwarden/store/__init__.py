"""What certwarden keeps: certificates, accounts, the ledger, and the locks around them."""
