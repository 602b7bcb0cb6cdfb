"""What studies are made with: teams to experiment on, checks, pictures."""
