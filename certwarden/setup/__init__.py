"""What certwarden needs of the machine around it, as text made from the configuration.

Owns how that text looks. Writes it nowhere, and asks the machine nothing.
"""
