"""Where certificates are put to use: published, taken up, and looked at from outside."""
