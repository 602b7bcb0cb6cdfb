"""Local update rules, as chains of small transforms: u begins as the gradient and ends as the step to be added to x."""
