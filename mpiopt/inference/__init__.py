"""What is known of coefficients beside their values: standard errors, and tests of one model against another."""
