"""What a demand costs: the bill, from coefficients that were measured."""
