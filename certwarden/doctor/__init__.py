"""What is wrong with a house, and what to do about it: one check a function, each by itself.

`examine` is the way in. Checks look and never change anything that outlives them; what they find is
judged here, and said in a sentence with its remedy. Printing is the command's business.
"""
