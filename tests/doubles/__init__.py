"""Servers that stand in for ones no machine of ours can run, as strict as those, with nothing of the tool in them."""
