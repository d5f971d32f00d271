"""What training costs: estimated before a run, read from the bill, held against the budget."""
