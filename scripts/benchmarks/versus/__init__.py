"""What train_on.py trains, and what it prunes with."""
